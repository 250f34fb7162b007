#compdef earlybird
# zsh completion for earlybird. Put it into ~/.zshrc, after compinit:
#   source <(earlybird completion zsh)
_earlybird() {
  local line
  local -a names described
  for line in "${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
    [[ -z $line ]] && continue
    if [[ $line == :files ]]; then
      _files
      return
    fi
    names+=("${line%%$'\t'*}")
    described+=("${line/$'\t'/  -- }")
  done
  (( ${#names} )) && compadd -l -d described -- "${names[@]}"
}
compdef _earlybird earlybird
