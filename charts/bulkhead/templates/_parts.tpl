{{/*
What the three components share. Names are fixed, not derived from the release:
rules and admission policies speak of them, and a cluster has one Bulkhead.
*/}}

{{/* The namespace, or a failure that says which one it must be. */}}
{{- define "bulkhead.namespace" -}}
{{- if ne .Release.Namespace "bulkhead-system" -}}
{{- fail (printf "Bulkhead is installed in the namespace bulkhead-system, not %s: run helm with --namespace bulkhead-system --create-namespace" .Release.Namespace) -}}
{{- end -}}
{{- .Release.Namespace -}}
{{- end -}}

{{/* Labels of every object of a component; call with (list $ "component"). */}}
{{- define "bulkhead.labels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/part-of: bulkhead
{{ include "bulkhead.selector" . }}
{{- end -}}

{{/* The labels that select a component's pods. They never change between versions. */}}
{{- define "bulkhead.selector" -}}
app.kubernetes.io/name: bulkhead-{{ index . 1 }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
{{- end -}}

{{/* metadata of an object named bulkhead-<component>; call with (list $ "component"). */}}
{{- define "bulkhead.metadata" -}}
name: bulkhead-{{ index . 1 }}
namespace: {{ include "bulkhead.namespace" (index . 0) }}
labels:
  {{- include "bulkhead.labels" . | nindent 2 }}
{{- end -}}

{{/* The image of a component; call with (list $ "component" "binary"). */}}
{{- define "bulkhead.image" -}}
{{- $root := index . 0 -}}
image: {{ printf "%s/%s:%s" $root.Values.image.registry (index . 1) (default $root.Chart.AppVersion $root.Values.image.tag) | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
{{- end -}}

{{/* Where pods may run and with whose image credentials; call with (list $ values-of-the-component). */}}
{{- define "bulkhead.scheduling" -}}
{{- with (index . 0).Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with index . 1 }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Annotations of a component's pods; call with the component's values. */}}
{{- define "bulkhead.podAnnotations" -}}
{{- with .podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Pods that need nothing of the node: no root, nothing to write, no capability. */}}
{{- define "bulkhead.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "bulkhead.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* Probes of /healthz and /readyz, which every binary has; call with the port's name. */}}
{{- define "bulkhead.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: {{ . }}}
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: {{ . }}}
  periodSeconds: 10
readinessProbe:
  httpGet: {path: /readyz, port: {{ . }}}
  periodSeconds: 5
{{- end -}}

{{/* A ServiceAccount; the pods that need its token ask for it themselves. */}}
{{- define "bulkhead.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "bulkhead.metadata" . | nindent 2 }}
automountServiceAccountToken: false
{{- end -}}

{{/* The port of the enforcer's Observer API. */}}
{{- define "bulkhead.hubblePort" -}}
{{- regexFind "[0-9]+$" .Values.enforcer.hubble.address | default "4244" -}}
{{- end -}}

{{/* The name of the enforcer's headless Service: its addresses are those of all nodes. */}}
{{- define "bulkhead.hubbleHost" -}}
bulkhead-enforcer.{{ include "bulkhead.namespace" . }}.svc
{{- end -}}

{{/* Not empty: the chart makes the certificates of the Observer API. */}}
{{- define "bulkhead.hubbleGenerated" -}}
{{- with .Values.enforcer.hubble }}{{ if not (or .tlsSecret .insecure) }}yes{{ end }}{{ end -}}
{{- end -}}

{{/* Not empty: the generator reads flows in plain text, because values say so. */}}
{{- define "bulkhead.hubblePlain" -}}
{{- with .Values.generator }}
{{- if or .hubble.insecure (and $.Values.enforcer.hubble.insecure (not .observers)) }}yes{{ end }}
{{- end }}
{{- end -}}

{{/* The Secret with the generator's certificate, or a failure that says what to set. */}}
{{- define "bulkhead.hubbleClientSecret" -}}
{{- with .Values.generator }}
{{- if .hubble.tlsSecret }}
{{- .hubble.tlsSecret -}}
{{- else if and (include "bulkhead.hubbleGenerated" $) (not .observers) -}}
bulkhead-hubble-client
{{- else -}}
{{- fail "generator.hubble.tlsSecret is empty: name the Secret with the generator's certificate (tls.crt, tls.key) and the authority of the observers (ca.crt), or set generator.hubble.insecure for plain text" -}}
{{- end }}
{{- end }}
{{- end -}}

{{/* Fails where both are asked for; call with (list "component" its-hubble-values). */}}
{{- define "bulkhead.hubbleOneOf" -}}
{{- with index . 1 }}
{{- if and .insecure .tlsSecret }}
{{- fail (printf "%s.hubble: set tlsSecret or insecure, not both" (index $ 0)) }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Fails where values of webhook.tls do not go together. */}}
{{- define "bulkhead.webhookTLS" -}}
{{- with .Values.webhook.tls }}
{{- if and (or .injectCAFrom .caBundle) (not .secret) }}
{{- fail "webhook.tls: injectCAFrom and caBundle are about the certificate in a secret of yours: set secret, too" }}
{{- end }}
{{- if and .injectCAFrom .caBundle }}
{{- fail "webhook.tls: set injectCAFrom or caBundle, not both" }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
The documents of a file, for a webhook with a certificate of the user's: webhook configurations trust its authority,
and roles lack what only an authority of Bulkhead's own needs. Call with (list webhook.tls documents).
*/}}
{{- define "bulkhead.otherCertificate" -}}
{{- $tls := index . 0 -}}
{{- range splitList "\n---\n" (index . 1) }}
---
{{- $object := fromYaml . }}
{{- if $object.webhooks }}
{{- with $tls.injectCAFrom }}
{{- $_ := set $object.metadata "annotations" (dict "cert-manager.io/inject-ca-from" .) }}
{{- end }}
{{- range $object.webhooks }}
{{- if $tls.caBundle }}
{{- $_ := set .clientConfig "caBundle" (b64enc $tls.caBundle) }}
{{- end }}
{{- end }}
{{- else if and $object.rules (eq $object.metadata.name "bulkhead-webhook") }}
{{- $rules := list }}
{{- range $object.rules }}
{{- if has "admissionregistration.k8s.io" .apiGroups }}
{{- $_ := set . "verbs" (list "get") }}
{{- end }}
{{- if not (has "secrets" .resources) }}
{{- $rules = append $rules . }}
{{- end }}
{{- end }}
{{- $_ := set $object "rules" $rules }}
{{- end }}
{{ toYaml $object }}
{{- end }}
{{- end -}}
