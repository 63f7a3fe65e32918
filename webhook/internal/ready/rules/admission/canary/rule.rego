# Refuses one namespace that cannot exist, because no namespace's name has dots. A replica asks itself
# about it to see that the rules are at work.
package bulkhead.rules.admission.canary

violation contains {
	"message": "no namespace has this name",
	"path": "metadata.name",
	"severity": "low",
	"fix": "choose another name",
} if {
	input.object.kind == "Namespace"
	input.object.metadata.name == "canary.bulkhead.dev"
}
