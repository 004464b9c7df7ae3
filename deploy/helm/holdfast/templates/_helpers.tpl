{{- define "holdfast.name" -}}
{{- if contains "holdfast" .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-holdfast" .Release.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "holdfast.selector" -}}
app.kubernetes.io/name: holdfast
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "holdfast.labels" -}}
{{ include "holdfast.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "holdfast.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "holdfast.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
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

{{- define "holdfast.pod" -}}
{{- if and (not .Values.tls.secretName) (not .Values.insecure) }}
{{- fail "tls.secretName: expected a Secret with a certificate; or set insecure=true for plaintext in a protected network" }}
{{- end }}
{{- if and .Values.tls.requireClientCertificates (not .Values.tls.secretName) }}
{{- fail "tls.requireClientCertificates: needs tls.secretName" }}
{{- end }}
metadata:
  labels:
    {{- include "holdfast.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- with .Values.podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "holdfast.serviceAccount" . }}
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
      env:
        - {name: HOLDFAST_LISTEN, value: "0.0.0.0:7433"}
        - name: HOLDFAST_STORE
          value: {{ .Values.store.url | default "file:///var/lib/holdfast" | quote }}
        {{- if .Values.metrics.enabled }}
        - {name: HOLDFAST_METRICS_LISTEN, value: "0.0.0.0:9464"}
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
        {{- range $name, $value := .Values.settings }}
        - name: HOLDFAST_{{ upper $name }}
          value: {{ if or (kindIs "map" $value) (kindIs "slice" $value) }}{{ toJson $value | quote }}{{ else if kindIs "float64" $value }}{{ if eq (floor $value) $value }}{{ int64 $value | toString | quote }}{{ else }}{{ $value | toString | quote }}{{ end }}{{ else }}{{ $value | toString | quote }}{{ end }}
        {{- end }}
        {{- with .Values.env }}{{ toYaml . | nindent 8 }}{{ end }}
      {{- with .Values.store.credentialsSecret }}
      envFrom:
        - secretRef: {name: {{ . }}}
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
      resources: {{- toYaml .Values.resources | nindent 8 }}
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
      secret: {secretName: {{ .Values.tls.secretName }}, defaultMode: 0440}
    {{- end }}
    {{- range $name := list "tokens" "policy" "quotas" "macKeys" }}
    {{- with index $.Values $name }}{{ if .secretName }}
    - name: {{ kebabcase $name }}
      secret: {secretName: {{ .secretName }}, defaultMode: 0440}
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
  priorityClassName: {{ . }}
  {{- end }}
{{- end }}
