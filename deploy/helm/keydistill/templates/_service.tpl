{{- define "keydistill.plainService" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "keydistill.metadata" . | nindent 2 }}
spec:
  ports: [{ name: http, port: {{ .port }}, targetPort: http }]
  selector:
    {{- include "keydistill.selector" . | nindent 4 }}
{{- end -}}
