{{- /*
The name of everything. At most 52 bytes: Kubernetes adds to the name of a StatefulSet, and labels have at most 63. A
Service may have no dot in its name and begins with a letter. A name that is cut off keeps a digest, so that it differs
from the others.
*/}}
{{- define "holdfast.name" -}}
{{- $name := .Release.Name | replace "." "-" }}
{{- if regexMatch "^[0-9]" $name }}{{ $name = printf "holdfast-%s" $name }}{{ end }}
{{- if not (contains "holdfast" $name) }}{{ $name = printf "%s-holdfast" $name }}{{ end }}
{{- if gt (len $name) 52 }}{{ $name = printf "%s-%s" (trunc 43 $name | trimSuffix "-") (sha256sum .Release.Name | trunc 8) }}{{ end }}
{{- $name }}
{{- end }}

{{- define "holdfast.selector" -}}
app.kubernetes.io/name: holdfast
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "holdfast.labels" -}}
{{ include "holdfast.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
{{- end }}

{{- define "holdfast.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "holdfast.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- /* All addresses of a pod. With IPv6, those of IPv4 as well. */}}
{{- define "holdfast.anyAddress" -}}
{{ if .Values.ipv6 }}[::]{{ else }}0.0.0.0{{ end }}
{{- end }}

{{- define "holdfast.ipFamilies" -}}
{{- if .Values.ipv6 }}
ipFamilyPolicy: PreferDualStack
{{- end }}
{{- end }}

{{- /* The probes of Kubernetes cannot use TLS: then the command that the image has for it. */}}
{{- define "holdfast.probe" -}}
{{- $ready := .ready }}
{{- if .root.Values.tls.secretName }}
exec: {command: [holdfast-server, health{{ if $ready }}, --ready{{ end }}]}
timeoutSeconds: 5
{{- else }}
grpc: {port: 7433{{ if $ready }}, service: holdfast.ready{{ end }}}
timeoutSeconds: 3
{{- end }}
{{- end }}

{{- /* The environment of the server. */}}
{{- define "holdfast.env" -}}
- {name: HOLDFAST_LISTEN, value: "{{ include "holdfast.anyAddress" . }}:7433"}
- name: HOLDFAST_STORE
  value: {{ .Values.store.url | default "file:///var/lib/holdfast" | quote }}
{{- if .Values.metrics.enabled }}
- {name: HOLDFAST_METRICS_LISTEN, value: "{{ include "holdfast.anyAddress" . }}:9464"}
{{- end }}
{{- if .Values.tls.secretName }}
- {name: HOLDFAST_TLS_CERT_FILE, value: /etc/holdfast/tls/tls.crt}
- {name: HOLDFAST_TLS_KEY_FILE, value: /etc/holdfast/tls/tls.key}
{{- if .Values.tls.requireClientCertificates }}
- {name: HOLDFAST_TLS_CLIENT_CA_FILE, value: /etc/holdfast/tls/ca.crt}
{{- end }}
{{- else }}
- {name: HOLDFAST_INSECURE, value: "on"}
{{- end }}
{{- range $name := list "tokens" "policy" "quotas" "macKeys" }}
{{- with index $.Values $name }}{{ if .secretName }}
- name: HOLDFAST_{{ snakecase $name | upper }}_FILE
  value: /etc/holdfast/{{ kebabcase $name }}/{{ .key }}
{{- end }}{{ end }}
{{- end }}
{{- with .Values.console }}{{ if .enabled }}
- name: HOLDFAST_CONSOLE_LISTEN
  value: {{ if .service.enabled }}"{{ include "holdfast.anyAddress" $ }}:7434"{{ else }}"127.0.0.1:7434"{{ end }}
- {name: HOLDFAST_CONSOLE_ALLOW_CHANGES, value: {{ .allowChanges | ternary "on" "off" | quote }}}
{{- with .traceUrlTemplate }}
- {name: HOLDFAST_CONSOLE_TRACE_URL_TEMPLATE, value: {{ . | quote }}}
{{- end }}
{{- with .hosts }}
- {name: HOLDFAST_CONSOLE_HOSTS, value: {{ toJson . | quote }}}
{{- end }}
{{- end }}{{ end }}
{{- range $name, $value := .Values.settings }}
- name: HOLDFAST_{{ upper $name }}
  value: {{ if or (kindIs "map" $value) (kindIs "slice" $value) }}{{ toJson $value | quote }}{{ else if kindIs "float64" $value }}{{ if eq (floor $value) $value }}{{ int64 $value | toString | quote }}{{ else }}{{ $value | toString | quote }}{{ end }}{{ else }}{{ $value | toString | quote }}{{ end }}
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* What the schema of the values cannot say. */}}
{{- define "holdfast.check" -}}
{{- if and (not .Values.tls.secretName) (not .Values.insecure) }}
{{- fail "tls.secretName: expected a Secret with a certificate; or set insecure=true for plaintext in a protected network" }}
{{- end }}
{{- if and .Values.tls.requireClientCertificates (not .Values.tls.secretName) }}
{{- fail "tls.requireClientCertificates: needs tls.secretName" }}
{{- end }}
{{- $names := dict }}
{{- range .Values.env }}
{{- if hasPrefix "HOLDFAST_" .name }}
{{- fail (printf "env: %s: expected settings of the server in settings, or in the value that is there for them" .name) }}
{{- end }}
{{- if hasKey $names .name }}
{{- fail (printf "env: %s is there twice" .name) }}
{{- end }}
{{- $_ := set $names .name true }}
{{- end }}
{{- if and .Values.autoscaling.enabled (gt (int64 .Values.autoscaling.minReplicas) (int64 .Values.autoscaling.maxReplicas)) }}
{{- fail (printf "autoscaling.minReplicas: expected at most autoscaling.maxReplicas, %v, got %v" .Values.autoscaling.maxReplicas .Values.autoscaling.minReplicas) }}
{{- end }}
{{- $authenticates := or .Values.tokens.secretName .Values.settings.oidc_issuer }}
{{- if and .Values.console.service.enabled (not .Values.console.enabled) }}
{{- fail "console.service.enabled: needs console.enabled" }}
{{- end }}
{{- if and .Values.console.service.enabled (not $authenticates) }}
{{- fail "console.service.enabled: everybody who can reach it would have all rights: needs tokens.secretName or settings.oidc_issuer, so that callers sign in" }}
{{- end }}
{{- if and .Values.console.enabled .Values.tls.requireClientCertificates (not $authenticates) }}
{{- fail "console.enabled: browsers have no certificate for the server, whose callers need one: needs tokens.secretName or settings.oidc_issuer" }}
{{- end }}
{{- end }}

{{- define "holdfast.pod" -}}
{{- include "holdfast.check" . }}
metadata:
  labels:
    {{- include "holdfast.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- with .Values.podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "holdfast.serviceAccount" . | quote }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  # Longer than the pause before SIGTERM and the drain together.
  terminationGracePeriodSeconds: {{ add 20 (ceil (.Values.settings.drain_seconds | default 10)) }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: holdfast
      image: {{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      ports:
        - {name: grpc, containerPort: 7433}
        {{- if .Values.metrics.enabled }}
        - {name: metrics, containerPort: 9464}
        {{- end }}
        {{- if .Values.console.service.enabled }}
        - {name: console, containerPort: 7434}
        {{- end }}
      env: {{- include "holdfast.env" . | nindent 8 }}
      {{- with .Values.store.credentialsSecret }}
      envFrom:
        - secretRef: {name: {{ . | quote }}}
      {{- end }}
      # A server probes its bucket before it serves.
      startupProbe:
        {{- include "holdfast.probe" (dict "root" . "ready" false) | nindent 8 }}
        periodSeconds: 2
        failureThreshold: 60
      # Does not depend on the store: a restart does not repair a store.
      livenessProbe:
        {{- include "holdfast.probe" (dict "root" . "ready" false) | nindent 8 }}
        periodSeconds: 10
        failureThreshold: 6
      readinessProbe:
        {{- include "holdfast.probe" (dict "root" . "ready" true) | nindent 8 }}
        periodSeconds: 5
        failureThreshold: 2
      # Until every proxy knows that no more connections belong here.
      lifecycle: {preStop: {sleep: {seconds: 5}}}
      {{- with .Values.resources }}
      resources: {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        {{- if not .Values.store.url }}
        - {name: store, mountPath: /var/lib/holdfast}
        {{- end }}
        {{- if .Values.tls.secretName }}
        - {name: tls, mountPath: /etc/holdfast/tls, readOnly: true}
        {{- end }}
        {{- range $name := list "tokens" "policy" "quotas" "macKeys" }}
        {{- if (index $.Values $name).secretName }}
        - {name: {{ kebabcase $name }}, mountPath: /etc/holdfast/{{ kebabcase $name }}, readOnly: true}
        {{- end }}
        {{- end }}
        # The libraries of S3 and Azure may keep temporary files.
        - {name: tmp, mountPath: /tmp}
  volumes:
    - {name: tmp, emptyDir: {}}
    {{- if .Values.tls.secretName }}
    - name: tls
      secret: {secretName: {{ .Values.tls.secretName | quote }}, defaultMode: 0440}
    {{- end }}
    {{- range $name := list "tokens" "policy" "quotas" "macKeys" }}
    {{- with index $.Values $name }}{{ if .secretName }}
    - name: {{ kebabcase $name }}
      secret: {secretName: {{ .secretName | quote }}, defaultMode: 0440}
    {{- end }}{{ end }}
    {{- end }}
  {{- if .Values.store.url }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector: {matchLabels: {{ include "holdfast.selector" . | fromYaml | toJson }}}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
{{- end }}
