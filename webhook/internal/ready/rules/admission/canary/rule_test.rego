package bulkhead.rules.admission.canary_test

import data.bulkhead.rules.admission.canary

test_the_canary_is_refused if {
	count(canary.violation) == 1 with input as {"object": {"kind": "Namespace", "metadata": {"name": "canary.bulkhead.dev"}}}
}

test_others_are_not if {
	count(canary.violation) == 0 with input as {"object": {"kind": "Namespace", "metadata": {"name": "shop"}}}
}
