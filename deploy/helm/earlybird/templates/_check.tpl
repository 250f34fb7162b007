{{/* Refuses values that cannot work, all of them at once. A message names the value
     and never repeats it: it may be a password in the wrong place. */}}
{{- define "earlybird.check" -}}
{{- $faults := list -}}
{{- range $given := list
  (list "image.repository" .Values.image.repository "where your registry has the image of deploy/images/identity.Dockerfile; there is none to download")
  (list "image.tag" .Values.image.tag "the version of that image")
  (list "issuer" .Values.issuer "the URL that names this service in tokens, such as https://login.bank.example; the same in kong.yml")
  (list "trustedProxies" .Values.trustedProxies "the networks of Kong's pods, such as [10.244.0.0/16]; without them all clients share one limit")
  (list "mongo.url" .Values.mongo.url "where MongoDB is, such as mongodb://mongo-0.mongo.data:27017/earlybird?replicaSet=rs0")
  (list "redis.url" .Values.redis.url "where Redis is, such as rediss://redis.data:6379/0")
  (list "keySecret.name" .Values.keySecret.name "the Secret with what seals the signing keys: openssl rand -hex 32 > key_secret, then kubectl create secret generic earlybird-keys --from-file=key_secret")
-}}
{{- if not (index $given 1) -}}
{{- $faults = append $faults (printf "%s must be given: %s" (index $given 0) (index $given 2)) -}}
{{- end -}}
{{- end -}}
{{- range $name := list "mongo" "redis" -}}
{{- $store := index $.Values $name -}}
{{- if regexMatch "^[^/]*//[^/?#]*:[^/?#]*@" $store.url -}}
{{- $faults = append $faults (printf "%s.url has a password in it, which everybody who reads the release could see: put it into a Secret and name that in %s.passwordSecret" $name $name) -}}
{{- else if $.Values.networkPolicy.enabled -}}
{{- $authority := regexReplaceAll "^[^/]*//([^/?#]*@)?([^/?#]*).*$" $store.url "${2}" -}}
{{- range regexFindAll ":[0-9]+(,|$)" $authority -1 -}}
{{- $port := . | trimPrefix ":" | trimSuffix "," -}}
{{- if not (has $port ((index $.Values.networkPolicy $name).ports | toStrings)) -}}
{{- $faults = append $faults (printf "networkPolicy.%s.ports lacks the port %s of %s.url: identity could not reach it" $name $port $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if ne (empty .Values.mongo.user) (empty .Values.mongo.passwordSecret.name) -}}
{{- $faults = append $faults "mongo.user and mongo.passwordSecret.name belong together: give both or neither" -}}
{{- end -}}
{{- range .Values.trustedProxies -}}
{{- if hasSuffix "/0" . -}}
{{- $faults = append $faults "trustedProxies must not be every address: whoever sends an X-Forwarded-For would choose the one they are limited by" -}}
{{- end -}}
{{- end -}}
{{- if contains "@" .Values.kong.url -}}
{{- $faults = append $faults "kong.url has a user in it, which everybody who reads the release could see: leave that out" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- $faults = append $faults "autoscaling.minReplicas is over autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and .Values.monitoring.enabled .Values.networkPolicy.enabled (not .Values.networkPolicy.prometheus) -}}
{{- $faults = append $faults "networkPolicy.prometheus must be given with monitoring.enabled: the peers that read the metrics, such as [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]" -}}
{{- end -}}
{{- if $faults -}}
{{- fail (printf "\nthese values cannot work:\n  - %s\n" (join "\n  - " $faults)) -}}
{{- end -}}
{{- end -}}
