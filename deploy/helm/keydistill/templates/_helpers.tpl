{{- define "keydistill.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "keydistill.selector" -}}
app.kubernetes.io/name: keydistill
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "keydistill.labels" -}}
{{ include "keydistill.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end -}}

{{- define "keydistill.metadata" -}}
name: {{ include "keydistill.name" .root }}-{{ .component }}
labels:
  {{- include "keydistill.labels" . | nindent 2 }}
{{- end -}}

{{- define "keydistill.image" -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag }}{{- end -}}
{{- end -}}

{{/* Of every pod: no root, no token of the cluster's, the runtime's seccomp profile. `uid` is the image's own user. */}}
{{- define "keydistill.pod" -}}
serviceAccountName: {{ include "keydistill.name" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .uid | default 1000 }}
  runAsGroup: 1000
  fsGroup: 1000
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- with .root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "keydistill.container" -}}
imagePullPolicy: {{ .Values.imagePullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end -}}

{{- define "keydistill.qdrantUrl" -}}
{{- if .Values.qdrant.enabled -}}
{{ ternary "https" "http" .Values.tls.enabled }}://{{ include "keydistill.name" . }}-qdrant:6333
{{- else -}}
{{ .Values.qdrant.url }}
{{- end -}}
{{- end -}}

{{/* The password comes before it: Kubernetes puts in what stands above. */}}
{{- define "keydistill.redisUrl" -}}
{{ ternary "rediss" "redis" .Values.tls.enabled }}://:$(REDIS_PASSWORD)@{{ if .Values.redis.enabled }}{{ include "keydistill.name" . }}-redis:6379/0{{ else }}{{ .Values.redis.host }}:{{ .Values.redis.port }}/{{ .Values.redis.database }}{{ end }}
{{- end -}}

{{- define "keydistill.redisPassword" -}}
- name: REDIS_PASSWORD
  valueFrom: { secretKeyRef: { name: {{ .Values.secrets.redis }}, key: password } }
{{- end -}}

{{/* Of service and workers. `qdrantKey` is the key in Qdrant's secret. */}}
{{- define "keydistill.environment" -}}
{{- $values := .root.Values -}}
{{- range $name, $value := $values.settings }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- range $name, $value := $values.storage }}
- name: KEYDISTILL_{{ $name | snakecase | upper }}
  value: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}
{{- end }}
{{- with $values.telemetry.logFormat }}
- name: KEYDISTILL_LOG_FORMAT
  value: {{ . }}
{{- end }}
{{- with $values.telemetry.otlpEndpoint }}
- name: KEYDISTILL_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- with $values.secrets.traces }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom: { secretKeyRef: { name: {{ . }}, key: headers } }
{{- end }}
- name: KEYDISTILL_ENGINE
  value: server
- name: KEYDISTILL_QDRANT_URL
  value: {{ include "keydistill.qdrantUrl" .root }}
- name: KEYDISTILL_QDRANT_API_KEY
  valueFrom: { secretKeyRef: { name: {{ $values.secrets.qdrant }}, key: {{ .qdrantKey }} } }
{{- if $values.tls.enabled }}
- name: KEYDISTILL_QDRANT_CA_CERTIFICATE
  value: /certificates/ca.crt
{{- end }}
{{- end -}}

{{/* Of those that write to Redis: workers, beat, exporter, Flower. */}}
{{- define "keydistill.workerEnvironment" -}}
{{- $values := .root.Values -}}
{{ include "keydistill.environment" (dict "root" .root "qdrantKey" "api-key") }}
- name: KEYDISTILL_EXECUTOR
  value: celery
{{ include "keydistill.redisPassword" .root }}
- name: KEYDISTILL_REDIS_URL
  value: {{ include "keydistill.redisUrl" .root }}
- name: KEYDISTILL_ORDER_PATHS
  value: '["/data/files"]'
{{- if $values.secrets.judge }}
- name: KEYDISTILL_JUDGE_API_KEY
  valueFrom: { secretKeyRef: { name: {{ $values.secrets.judge }}, key: api-key } }
{{- end }}
{{- if $values.tls.enabled }}
- name: KEYDISTILL_REDIS_CA_CERTIFICATE
  value: /certificates/ca.crt
- name: KEYDISTILL_REDIS_CLIENT_CERTIFICATE
  value: /certificates/tls.crt
- name: KEYDISTILL_REDIS_CLIENT_KEY
  value: /certificates/tls.key
{{- end }}
- name: NODE
  value: {{ .component }}
- name: REMAP_SIGTERM
  value: SIGQUIT
- name: MPLCONFIGDIR
  value: /tmp
{{- end -}}

{{- define "keydistill.mounts" -}}
- { name: tmp, mountPath: /tmp }
- { name: home, mountPath: /data }
{{- if .Values.settingsFile }}
- { name: settings, mountPath: /app/keydistill.toml, subPath: keydistill.toml, readOnly: true }
{{- end }}
{{- if .Values.tls.enabled }}
- { name: certificates, mountPath: /certificates, readOnly: true }
{{- end }}
{{- end -}}

{{- define "keydistill.volumes" -}}
- name: tmp
  emptyDir: {}
- name: home
  persistentVolumeClaim:
    claimName: {{ .Values.home.existingClaim | default (printf "%s-home" (include "keydistill.name" .)) }}
{{- if .Values.settingsFile }}
- name: settings
  configMap: { name: {{ include "keydistill.name" . }}-settings }
{{- end }}
{{- if .Values.tls.enabled }}
- name: certificates
  secret: { secretName: {{ .Values.tls.clientSecret }}, defaultMode: 0440 }
{{- end }}
{{- end -}}

{{/* Pods start anew when the settings file changes. */}}
{{- define "keydistill.annotations" -}}
checksum/settings: {{ .Values.settingsFile | sha256sum }}
{{- end -}}

{{/* One deployment of the worker's image: `component`, `command`, `replicas`, `resources`, `liveness`, maybe `image`. */}}
{{- define "keydistill.workerDeployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "keydistill.metadata" . | nindent 2 }}
spec:
  replicas: {{ .replicas }}
  {{- if .recreate }}
  strategy: { type: Recreate }
  {{- end }}
  selector:
    matchLabels:
      {{- include "keydistill.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "keydistill.labels" . | nindent 8 }}
      annotations:
        {{- include "keydistill.annotations" .root | nindent 8 }}
    spec:
      {{- include "keydistill.pod" . | nindent 6 }}
      # Longer than Celery's soft shutdown.
      terminationGracePeriodSeconds: 30
      containers:
        - name: {{ .component }}
          image: {{ include "keydistill.image" (.image | default .root.Values.images.worker) }}
          {{- include "keydistill.container" .root | nindent 10 }}
          command: {{ toJson .command }}
          env:
            {{- include "keydistill.workerEnvironment" . | nindent 12 }}
            {{- range .more }}
            - {{- toYaml . | nindent 14 }}
            {{- end }}
          {{- with .port }}
          ports: [{ name: http, containerPort: {{ . }} }]
          {{- end }}
          {{- range $probe := list "startupProbe" "livenessProbe" "readinessProbe" }}
          {{- with get $ $probe }}
          {{ $probe }}: {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- end }}
          resources: {{- toYaml .resources | nindent 12 }}
          volumeMounts:
            {{- include "keydistill.mounts" .root | nindent 12 }}
            {{- if .root.Values.files.existingClaim }}
            - { name: files, mountPath: /data/files, readOnly: true }
            {{- end }}
      volumes:
        {{- include "keydistill.volumes" .root | nindent 8 }}
        {{- with .root.Values.files.existingClaim }}
        - name: files
          persistentVolumeClaim: { claimName: {{ . }}, readOnly: true }
        {{- end }}
{{- end -}}

{{/*
What docker-compose.yml asks of a worker. Not being ready stops a rollout and is seen; as a reason to kill it would make all of
them begin their parts anew where Redis is away for minutes, which they wait out by themselves.
*/}}
{{- define "keydistill.workerProbe" -}}
exec:
  command:
    - /bin/sh
    - -c
    - celery -A keydistill.workers.app inspect ping --destination $NODE@$HOSTNAME --timeout 10 && keydistill status --node $NODE@$HOSTNAME
initialDelaySeconds: 60
periodSeconds: 60
timeoutSeconds: 30
failureThreshold: 3
{{- end -}}
