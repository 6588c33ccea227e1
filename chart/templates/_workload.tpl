{{/* One role's Deployment and Service. Each takes root and role. */}}

{{- define "carapulse.deployment" -}}
{{- $root := .root -}}
{{- $settings := include "carapulse.settings" . | fromYaml -}}
{{- if $settings.enabled -}}
{{- $config := include "carapulse.config" . -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "carapulse.rolename" . }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "carapulse.rolelabels" . | nindent 4 }}
spec:
  {{- if not (and $settings.autoscaling $settings.autoscaling.enabled) }}
  replicas: {{ int $settings.replicaCount }}
  {{- end }}
  revisionHistoryLimit: {{ int $settings.revisionHistoryLimit }}
  {{- with $settings.strategy }}
  strategy:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "carapulse.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "carapulse.podlabels" . | nindent 8 }}
        {{- with $settings.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        # A changed configuration restarts the role. Its Secret does not: keys and passwords are read again where they lie.
        checksum/config: {{ sha256sum $config }}
        {{- with $settings.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      {{- include "carapulse.podspec" (dict "root" $root "role" .role "settings" $settings "config" $config) | nindent 6 }}
{{- end -}}
{{- end -}}

{{- define "carapulse.podspec" -}}
{{- $root := .root -}}
{{- $settings := .settings -}}
serviceAccountName: {{ include "carapulse.serviceaccount" . }}
# No role speaks to the cluster by its own account: what it may do there, a target's own credential says.
automountServiceAccountToken: {{ $settings.automountServiceAccountToken }}
# Service links would set variables such as CARAPULSE_GATEWAY_PORT, which read like settings of this program.
enableServiceLinks: false
terminationGracePeriodSeconds: {{ int $settings.terminationGracePeriodSeconds }}
{{- with $settings.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $settings.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $settings.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with $settings.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml $settings.podSecurityContext | nindent 2 }}
{{- with $settings.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $settings.affinity }}
affinity:
  {{- tpl (toYaml .) $root | nindent 2 }}
{{- end }}
{{- with $settings.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $settings.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range $settings.topologySpreadConstraints }}
  {{- $constraint := deepCopy . }}
  {{- if not (hasKey $constraint "labelSelector") }}
  {{- $_ := set $constraint "labelSelector" (dict "matchLabels" (include "carapulse.selector" $ | fromYaml)) }}
  {{- end }}
  - {{- toYaml $constraint | nindent 4 }}
  {{- end }}
{{- end }}
{{- with $settings.extraInitContainers }}
initContainers:
  {{- tpl (toYaml .) $root | nindent 2 }}
{{- end }}
containers:
  - name: {{ .role }}
    image: {{ include "carapulse.image" (dict "root" $root "image" $settings.image) }}
    imagePullPolicy: {{ $root.Values.global.image.pullPolicy }}
    args: ["serve", "--role", {{ .role | quote }}]
    env:
      - name: CARAPULSE_CONFIG
        value: /etc/carapulse/carapulse.toml
      {{- if eq .role "tool-router" }}
      # A job's way out is known to the router that opened it, not to its other replicas: the sandbox must come to this pod.
      - name: POD_IP
        valueFrom:
          fieldRef:
            fieldPath: status.podIP
      - name: CARAPULSE_TOOL_ROUTER__SANDBOX__EGRESS__ADVERTISED
        value: "$(POD_IP):{{ include "carapulse.egressport" $root }}"
      {{- end }}
      {{- with $settings.extraEnv }}
      {{- tpl (toYaml .) $root | nindent 6 }}
      {{- end }}
    {{- with $settings.extraEnvFrom }}
    envFrom:
      {{- tpl (toYaml .) $root | nindent 6 }}
    {{- end }}
    ports:
      - name: http
        containerPort: {{ include "carapulse.roleport" . }}
        protocol: TCP
      {{- if eq .role "gateway" }}
      - name: canvas
        containerPort: {{ include "carapulse.canvasport" $root }}
        protocol: TCP
      {{- end }}
      {{- if eq .role "tool-router" }}
      - name: egress
        containerPort: {{ include "carapulse.egressport" $root }}
        protocol: TCP
      {{- end }}
    startupProbe:
      {{- include "carapulse.probe" (dict "path" "/healthz" "probe" $settings.startupProbe) | nindent 6 }}
    livenessProbe:
      {{- include "carapulse.probe" (dict "path" "/healthz" "probe" $settings.livenessProbe) | nindent 6 }}
    readinessProbe:
      {{- include "carapulse.probe" (dict "path" "/readyz" "probe" $settings.readinessProbe) | nindent 6 }}
    {{- with $settings.lifecycle }}
    lifecycle:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    resources:
      {{- toYaml $settings.resources | nindent 6 }}
    securityContext:
      {{- toYaml $settings.containerSecurityContext | nindent 6 }}
    volumeMounts:
      - name: config
        mountPath: /etc/carapulse
        readOnly: true
      - name: data
        mountPath: /var/lib/carapulse
      {{- if include "carapulse.objectsclaim" . }}
      - name: objects
        mountPath: /var/lib/carapulse/objects
      {{- end }}
      - name: tmp
        mountPath: /tmp
      {{- if and (eq .role "tool-router") $settings.credentialsSecret }}
      - name: credentials
        mountPath: /etc/carapulse-credentials
        readOnly: true
      {{- end }}
      {{- with $settings.extraVolumeMounts }}
      {{- tpl (toYaml .) $root | nindent 6 }}
      {{- end }}
  {{- with $settings.extraContainers }}
  {{- tpl (toYaml .) $root | nindent 2 }}
  {{- end }}
volumes:
  # One directory, without subPath: a changed Secret reaches the running pod.
  - name: config
    projected:
      defaultMode: 288 # 0440
      sources:
        - secret:
            name: {{ include "carapulse.rolename" . }}-config
            items:
              - key: carapulse.toml
                path: carapulse.toml
        {{- with include "carapulse.config.secrets" .config | trim }}
        - secret:
            name: {{ include "carapulse.secretname" $ }}
            items:
              {{- range splitList "\n" . }}
              {{- with trim . }}
              - key: {{ . }}
                path: secrets/{{ . }}
              {{- end }}
              {{- end }}
        {{- end }}
  - name: data
    emptyDir: {}
  {{- if include "carapulse.objectsclaim" . }}
  - name: objects
    persistentVolumeClaim:
      claimName: {{ $root.Values.objects.existingClaim }}
  {{- end }}
  - name: tmp
    emptyDir:
      {{- toYaml $settings.tmp | nindent 6 }}
  {{- if and (eq .role "tool-router") $settings.credentialsSecret }}
  - name: credentials
    secret:
      secretName: {{ $settings.credentialsSecret }}
      defaultMode: 288 # 0440
  {{- end }}
  {{- with $settings.extraVolumes }}
  {{- tpl (toYaml .) $root | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* What every probe of a role asks over HTTP; a probe of another kind in the values replaces it. */}}
{{- define "carapulse.probe" -}}
{{- $probe := deepCopy .probe -}}
{{- if not (or (hasKey $probe "exec") (hasKey $probe "httpGet") (hasKey $probe "tcpSocket") (hasKey $probe "grpc")) -}}
{{- $_ := set $probe "httpGet" (dict "path" .path "port" "http") -}}
{{- end -}}
{{- toYaml $probe -}}
{{- end -}}

{{/* Not empty for the roles that read or write objects, when these are in a volume that they share. */}}
{{- define "carapulse.objectsclaim" -}}
{{- if and .root.Values.objects.existingClaim (has "objects" (include "carapulse.row" . | fromYaml).sections) -}}yes{{- end -}}
{{- end -}}

{{- define "carapulse.service" -}}
{{- $root := .root -}}
{{- $settings := include "carapulse.settings" . | fromYaml -}}
{{- if $settings.enabled -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "carapulse.rolename" . }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "carapulse.rolelabels" . | nindent 4 }}
  {{- with $settings.service.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ $settings.service.type }}
  ports:
    - name: http
      port: {{ int $settings.service.port }}
      targetPort: http
      protocol: TCP
      appProtocol: http
    {{- if eq .role "gateway" }}
    - name: canvas
      port: {{ int $settings.service.canvasPort }}
      targetPort: canvas
      protocol: TCP
      appProtocol: http
    {{- end }}
  selector:
    {{- include "carapulse.selector" . | nindent 4 }}
{{- end -}}
{{- end -}}

{{- define "carapulse.ingress" -}}
{{- $root := .root -}}
{{- $settings := include "carapulse.settings" . | fromYaml -}}
{{- if and $settings.enabled $settings.ingress.enabled -}}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ include "carapulse.rolename" . }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "carapulse.rolelabels" . | nindent 4 }}
  {{- with $settings.ingress.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with $settings.ingress.className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- with $settings.ingress.tls }}
  tls:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    {{- range $settings.ingress.hosts }}
    - host: {{ .host | quote }}
      http:
        paths:
          {{- range .paths }}
          - path: {{ .path }}
            pathType: {{ .pathType }}
            backend:
              service:
                name: {{ include "carapulse.rolename" $ }}
                port:
                  name: {{ .port | default "http" }}
          {{- end }}
    {{- end }}
{{- end -}}
{{- end -}}
