{{- define "earlybird.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The labels that select pods. Takes the context and the component. */}}
{{- define "earlybird.selector" -}}
app.kubernetes.io/name: {{ .context.Chart.Name }}
app.kubernetes.io/instance: {{ .context.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* The labels of an object. Takes the context and the component. */}}
{{- define "earlybird.labels" -}}
{{ include "earlybird.selector" . }}
app.kubernetes.io/version: {{ .context.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .context.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .context.Chart.Name .context.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "earlybird.image" -}}
image: {{ printf "%s:%s" .Values.image.repository .Values.image.tag | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end -}}

{{/* The restricted Pod Security Standard, for a pod and for its containers. */}}
{{- define "earlybird.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}
{{- define "earlybird.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* What every pod of the chart has alike. */}}
{{- define "earlybird.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
securityContext:
  {{- include "earlybird.podSecurity" . | nindent 2 }}
{{- with .Values.pod.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.pod.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.pod.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* The variables that identity and doctor share: where the stores are. */}}
{{- define "earlybird.stores" -}}
EARLYBIRD_MONGO_URL: {{ .Values.mongo.url | quote }}
{{- with .Values.mongo.user }}
EARLYBIRD_MONGO_USER: {{ . | quote }}
{{- end }}
{{- if .Values.mongo.passwordSecret.name }}
EARLYBIRD_MONGO_PASSWORD_FILE: /etc/earlybird/mongo_password
{{- end }}
{{- if .Values.mongo.caSecret.name }}
EARLYBIRD_MONGO_CA_FILE: /etc/earlybird/mongo_ca
{{- end }}
EARLYBIRD_REDIS_URL: {{ .Values.redis.url | quote }}
{{- if .Values.redis.passwordSecret.name }}
EARLYBIRD_REDIS_PASSWORD_FILE: /etc/earlybird/redis_password
{{- end }}
{{- if .Values.redis.caSecret.name }}
EARLYBIRD_REDIS_CA_FILE: /etc/earlybird/redis_ca
{{- end }}
{{- with index .Values.settings "audit-retention" }}
EARLYBIRD_AUDIT_RETENTION: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* A volume with keys of existing Secrets as files. Takes a map from the file to a
     reference of the values; one without a name is left out. */}}
{{- define "earlybird.secrets" -}}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range $file, $from := . }}
      {{- if $from.name }}
      - secret:
          name: {{ $from.name }}
          items: [{key: {{ $from.key | quote }}, path: {{ $file }}}]
      {{- end }}
      {{- end }}
{{- end -}}

{{/* What hashConcurrency comes to. Memory in MiB: 107 for a process at work, half a
     KiB for each token and user that may be cached, a buffer for each hash, and a
     quarter more (deploy/docs/observing.md). */}}
{{- define "earlybird.resources" -}}
{{- $s := .Values.settings -}}
{{- $hashes := mulf .Values.hashConcurrency (divf (index $s "argon2-memory-kib" | default 19456) 1024) -}}
{{- $cached := divf (addf (index $s "token-cache-size" | default 10000) (index $s "user-cache-size" | default 10000)) 2048 -}}
{{- $memory := printf "%dMi" (mulf 1.25 (addf 107 $hashes $cached) | ceil | int) -}}
{{- $all := dict "requests" (dict "cpu" (.Values.hashConcurrency | int | toString) "memory" $memory) "limits" (dict "memory" $memory) -}}
{{- mergeOverwrite $all (deepCopy .Values.resources) | toYaml -}}
{{- end -}}

{{/* A rule of a NetworkPolicy that lets out to peers. Takes their values and the
     protocols. */}}
{{- define "earlybird.egress" -}}
{{- $peers := .peers -}}
- ports:
    {{- range $port := $peers.ports }}
    {{- range $.protocols }}
    - {port: {{ $port }}, protocol: {{ . }}}
    {{- end }}
    {{- end }}
  {{- with $peers.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "earlybird.kongLabels" -}}
{{- .Values.kong.podLabels | default (dict "app.kubernetes.io/name" "kong") | toYaml -}}
{{- end -}}

{{/* Kong's pods, as a peer. */}}
{{- define "earlybird.kong" -}}
- namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ .Values.kong.namespace | default .Release.Namespace }}}}
  podSelector:
    matchLabels:
      {{- include "earlybird.kongLabels" . | nindent 6 }}
{{- end -}}
