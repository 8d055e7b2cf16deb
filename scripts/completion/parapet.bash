# bash completion for `parapet`: source this file, or put it into /usr/share/bash-completion/completions.

_parapet_vms() {
	local folder=${XDG_RUNTIME_DIR:+$XDG_RUNTIME_DIR/parapet} socket
	for socket in "${folder:-/run/parapet}"/*.vsock; do
		[ -S "$socket" ] || continue
		socket=${socket##*/}
		echo "${socket%.vsock}"
	done
}

# Names below the directory of a path that is being typed: asked in the VM.
_parapet_inspect_paths() { # vm word
	local folder=
	[[ $2 != */* ]] || folder=${2%/*}/
	parapet inspect --json --timeout 1 "$1" "$folder" 2>/dev/null | python3 -c '
import json, sys
for name, value in json.load(sys.stdin).items():
    print(sys.argv[1] + name + ("/" if value is None or isinstance(value, dict) else ""))' "$folder" 2>/dev/null
}

_parapet() {
	local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]-}
	local i vm='' words=0
	COMPREPLY=()
	if [ "$COMP_CWORD" = 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W "$(parapet --help | awk '/^  [a-z]/ { print $1 }') --help --version" -- "$word")
		return
	fi
	case $previous in
	-o | --output | --image | --kernel | --initrd | --crash-dir | --stats-json)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	esac
	if [[ $word == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(parapet "$command" --help | grep -oE -- '--[a-z][a-z0-9-]*' | sort -u)" -- "$word")
		return
	fi
	[ "$command" != run ] || return
	for ((i = 2; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		--vm) vm=${COMP_WORDS[i + 1]} ;;
		-e | -u | -d | -p | -c | -t | -l | -n | -o | -G | -s | --env | --update | --depth | --period | --count | \
			--timeout | --level | --name | --pid | --output | --seconds | --snaplen | --wait) ((i++)) ;;
		-*) ;;
		*)
			((words++))
			[ -n "$vm" ] || vm=${COMP_WORDS[i]}
			;;
		esac
	done
	vm=${vm:-${PARAPET_VM-}}
	if [ -z "$vm" ]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_parapet_vms)" -- "$word"; compgen -f -- "$word")
	elif [ "$command" = inspect ]; then
		compopt -o nospace 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -W "$(_parapet_inspect_paths "$vm" "$word")" -- "$word")
	fi
}
complete -F _parapet parapet
