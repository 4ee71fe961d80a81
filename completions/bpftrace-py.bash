# Completion of bpftrace-py(1) for bash: options, their arguments, scripts, and the names of probes behind -l and -e.

# Probes that begin with $1, as `bpftrace-py -l` lists them. Nothing without the rights to list.
_bpftrace_py_probes() {
	# A search without a colon is for a word anywhere: with the types' own names it is not that.
	case $1 in
	*:*) bpftrace-py -l "$1*" 2>/dev/null ;;
	*) compgen -W "BEGIN END tracepoint: rawtracepoint: kprobe: kretprobe: kfunc: kretfunc: uprobe: uretprobe: usdt:
		profile: interval: software: hardware:" -- "$1" ;;
	esac
}

_bpftrace_py() {
	local line=${COMP_LINE:0:COMP_POINT} current=${COMP_WORDS[COMP_CWORD]} quote= option word before=
	COMPREPLY=()
	# bash splits words at colons, too. What is wanted is the word as the shell has it: from the last blank outside of quotes.
	if [[ $line =~ (^|[[:blank:]])(\'[^\']*|\"[^\"]*|[^[:blank:]\'\"]*)$ ]]; then
		word=${BASH_REMATCH[2]}
	else
		word=$current
	fi
	option=${line%"$word"}
	option=${option%"${option##*[![:blank:]]}"}
	option=${option##*[[:blank:]]}
	case $word in
	\'* | \"*) quote=${word:0:1} word=${word:1} ;;
	esac
	case $option in
	-B) mapfile -t COMPREPLY < <(compgen -W "line full none" -- "$word") ;;
	-f) mapfile -t COMPREPLY < <(compgen -W "text json folded flamegraph" -- "$word") ;;
	--export)
		mapfile -t COMPREPLY < <(compgen -W prometheus: -- "$word")
		compopt -o nospace 2>/dev/null
		;;
	-o | --include) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
	-I) mapfile -t COMPREPLY < <(compgen -d -- "$word") ;;
	-p) mapfile -t COMPREPLY < <(cd /proc && compgen -W "$(echo [0-9]*)" -- "$word") ;;
	-c) mapfile -t COMPREPLY < <(compgen -c -- "$word") ;;
	-l | -lv | -e)
		# In a program, a probe stands at its beginning, behind a block, or behind another probe and a comma.
		if [[ $word =~ ^(.*[\},][[:blank:]]*)([^[:blank:]]*)$ ]]; then
			before=${BASH_REMATCH[1]} word=${BASH_REMATCH[2]}
		fi
		mapfile -t COMPREPLY < <(_bpftrace_py_probes "$word")
		;;
	*)
		if [[ $word == -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W "-B -f -o -d -dd -e -h --help -I --include -l -lv -p -c
				--usdt-file-activation --safe --unsafe -q --quiet -k -kk -v -V --version --info
				--no-warnings --no-cache --export" -- "$word")
		else
			mapfile -t COMPREPLY < <(compgen -f -- "$word")
			compopt -o filenames 2>/dev/null
		fi
		return
		;;
	esac
	case $option in
	-o | -I | --include) compopt -o filenames 2>/dev/null ;; # a slash behind a directory, and no blank
	-l | -lv | -e)
		compopt -o nospace 2>/dev/null
		# Outside of quotes, readline replaces only what stands behind the last colon.
		if [[ -z $quote && $word == *:* && $COMP_WORDBREAKS == *:* ]]; then
			COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*:}"}"}")
		elif [[ -n $before && ${#COMPREPLY[@]} -gt 0 ]]; then
			COMPREPLY=("${COMPREPLY[@]/#/"$before"}")
		fi
		;;
	esac
}

complete -F _bpftrace_py bpftrace-py
