# bash completion for earlybird. Put it into ~/.bashrc:
#   source <(earlybird completion bash)
_earlybird() {
  local line replies=()
  while IFS= read -r line; do
    [[ -n $line ]] && replies+=("${line%%$'\t'*}")
  done < <("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  COMPREPLY=()
  if [[ ${replies[0]} == :files ]]; then
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}")
    compopt -o filenames 2>/dev/null
  else
    COMPREPLY=("${replies[@]}")
  fi
  return 0
}
complete -F _earlybird earlybird
