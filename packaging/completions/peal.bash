# bash completion for peal. Written by `peal completion bash`.
_peal() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    local verb=${COMP_WORDS[1]} words='' files='' nothing=''
    if [ "$COMP_CWORD" -eq 1 ] || { [ "$verb" = help ] && [ "$COMP_CWORD" -eq 2 ]; }; then
        words="help version serve publish tail query replay stream subs dead schedule stats import export archive doctor erase explain bench completion"
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
        return
    fi
    case $verb:$before in
    serve:--listen|serve:-l) nothing=1 ;;
    serve:--drain) nothing=1 ;;
    serve:--port-file) files=1 ;;
    publish:--type|publish:-t) nothing=1 ;;
    publish:--subject|publish:-s) nothing=1 ;;
    publish:--deliver-at) nothing=1 ;;
    publish:--deliver-in) nothing=1 ;;
    publish:--data|publish:-D) nothing=1 ;;
    publish:--data-file) files=1 ;;
    publish:--content-type) nothing=1 ;;
    publish:--key|publish:-k) nothing=1 ;;
    publish:--correlation|publish:-c) nothing=1 ;;
    publish:--causation) nothing=1 ;;
    publish:--id|publish:-i) nothing=1 ;;
    publish:--source) nothing=1 ;;
    publish:--schema) nothing=1 ;;
    publish:--metadata|publish:-m) nothing=1 ;;
    publish:--time) nothing=1 ;;
    publish:--priority|publish:-p) words="0 1 2 3 4 5 6 7 8 9" ;;
    publish:--durability|publish:-d) words="memory os disk" ;;
    tail:--lines|tail:-l) nothing=1 ;;
    tail:--type|tail:-t) nothing=1 ;;
    tail:--subject|tail:-s) nothing=1 ;;
    tail:--correlation|tail:-c) nothing=1 ;;
    tail:--causation) nothing=1 ;;
    tail:--source) nothing=1 ;;
    tail:--id|tail:-i) nothing=1 ;;
    tail:--since) nothing=1 ;;
    tail:--until) nothing=1 ;;
    tail:--from-position) nothing=1 ;;
    tail:--to-position) nothing=1 ;;
    tail:--contains) nothing=1 ;;
    tail:--limit|tail:-n) nothing=1 ;;
    tail:--after) nothing=1 ;;
    query:--type|query:-t) nothing=1 ;;
    query:--subject|query:-s) nothing=1 ;;
    query:--correlation|query:-c) nothing=1 ;;
    query:--causation) nothing=1 ;;
    query:--source) nothing=1 ;;
    query:--id|query:-i) nothing=1 ;;
    query:--since) nothing=1 ;;
    query:--until) nothing=1 ;;
    query:--from-position) nothing=1 ;;
    query:--to-position) nothing=1 ;;
    query:--contains) nothing=1 ;;
    query:--limit|query:-n) nothing=1 ;;
    query:--after) nothing=1 ;;
    replay:--speed|replay:-x) nothing=1 ;;
    replay:--to) nothing=1 ;;
    replay:--type|replay:-t) nothing=1 ;;
    replay:--subject|replay:-s) nothing=1 ;;
    replay:--correlation|replay:-c) nothing=1 ;;
    replay:--causation) nothing=1 ;;
    replay:--source) nothing=1 ;;
    replay:--id|replay:-i) nothing=1 ;;
    replay:--since) nothing=1 ;;
    replay:--until) nothing=1 ;;
    replay:--from-position) nothing=1 ;;
    replay:--to-position) nothing=1 ;;
    replay:--contains) nothing=1 ;;
    replay:--limit|replay:-n) nothing=1 ;;
    replay:--after) nothing=1 ;;
    stream:--expect|stream:-e) nothing=1 ;;
    stream:--limit|stream:-n) nothing=1 ;;
    stream:--data|stream:-D) nothing=1 ;;
    stream:--data-file) files=1 ;;
    stream:--content-type) nothing=1 ;;
    stream:--key|stream:-k) nothing=1 ;;
    stream:--correlation|stream:-c) nothing=1 ;;
    stream:--causation) nothing=1 ;;
    stream:--id|stream:-i) nothing=1 ;;
    stream:--source) nothing=1 ;;
    stream:--schema) nothing=1 ;;
    stream:--metadata|stream:-m) nothing=1 ;;
    stream:--time) nothing=1 ;;
    stream:--priority|stream:-p) words="0 1 2 3 4 5 6 7 8 9" ;;
    stream:--durability|stream:-d) words="memory os disk" ;;
    subs:--lag|subs:-l) nothing=1 ;;
    subs:--from|subs:-f) words="beginning now" ;;
    subs:--from-position) nothing=1 ;;
    subs:--since|subs:-s) nothing=1 ;;
    dead:--type|dead:-t) nothing=1 ;;
    dead:--subscription|dead:-s) nothing=1 ;;
    dead:--reason|dead:-r) nothing=1 ;;
    dead:--older-than) nothing=1 ;;
    dead:--limit|dead:-n) nothing=1 ;;
    dead:--by|dead:-b) words="reason type subscription" ;;
    dead:--data|dead:-D) nothing=1 ;;
    dead:--data-file) files=1 ;;
    dead:--content-type) nothing=1 ;;
    schedule:--type|schedule:-t) nothing=1 ;;
    schedule:--subject|schedule:-s) nothing=1 ;;
    schedule:--correlation|schedule:-c) nothing=1 ;;
    schedule:--source) nothing=1 ;;
    schedule:--limit|schedule:-n) nothing=1 ;;
    stats:--limit|stats:-n) nothing=1 ;;
    import:--format) words="jsonl batch mlperf" ;;
    import:--type|import:-t) nothing=1 ;;
    import:--type-from) nothing=1 ;;
    import:--time-from) nothing=1 ;;
    import:--subject-from) nothing=1 ;;
    import:--correlation-from) nothing=1 ;;
    import:--from-line) nothing=1 ;;
    import:--batch) nothing=1 ;;
    import:--durability|import:-d) words="memory os disk" ;;
    export:--output|export:-o) files=1 ;;
    export:--format) words="jsonl batch" ;;
    export:--max-file-size-mb) nothing=1 ;;
    export:--type|export:-t) nothing=1 ;;
    export:--subject|export:-s) nothing=1 ;;
    export:--correlation|export:-c) nothing=1 ;;
    export:--causation) nothing=1 ;;
    export:--source) nothing=1 ;;
    export:--id|export:-i) nothing=1 ;;
    export:--since) nothing=1 ;;
    export:--until) nothing=1 ;;
    export:--from-position) nothing=1 ;;
    export:--to-position) nothing=1 ;;
    export:--contains) nothing=1 ;;
    export:--limit|export:-n) nothing=1 ;;
    export:--after) nothing=1 ;;
    archive:--before|archive:-b) nothing=1 ;;
    doctor:--from|doctor:-f) files=1 ;;
    erase:--subject|erase:-s) nothing=1 ;;
    explain:--pattern|explain:-p) nothing=1 ;;
    explain:--event|explain:-e) nothing=1 ;;
    explain:--subscription|explain:-s) nothing=1 ;;
    bench:--directory|bench:-D) files=1 ;;
    bench:--seconds|bench:-s) nothing=1 ;;
    *:--url|*:-u) nothing=1 ;;
    *:--wait) nothing=1 ;;
    *)
        case $verb in
        serve) words=" --listen -l --drain --port-file --url -u --wait --json -j --text --quiet -q --help -h" ;;
        publish) words=" --type -t --subject -s --lines --deliver-at --deliver-in --data -D --data-file --content-type --key -k --correlation -c --causation --id -i --source --schema --metadata -m --time --priority -p --durability -d --url -u --wait --json -j --text --quiet -q --help -h" ;;
        tail) words=" --follow -f --lines -l --new --all -a --type -t --subject -s --correlation -c --causation --source --id -i --since --until --from-position --to-position --contains --limit -n --after --url -u --wait --json -j --text --quiet -q --help -h" ;;
        query) words=" --type -t --subject -s --correlation -c --causation --source --id -i --since --until --from-position --to-position --contains --limit -n --after --backwards -b --count --full -f --url -u --wait --json -j --text --quiet -q --help -h" ;;
        replay) words=" --speed -x --full -f --to --type -t --subject -s --correlation -c --causation --source --id -i --since --until --from-position --to-position --contains --limit -n --after --url -u --wait --json -j --text --quiet -q --help -h" ;;
        stream) words="show version append --expect -e --backwards -b --limit -n --data -D --data-file --content-type --key -k --correlation -c --causation --id -i --source --schema --metadata -m --time --priority -p --durability -d --url -u --wait --json -j --text --quiet -q --help -h" ;;
        subs) words="list show pause resume seek forget --lag -l --paused -p --from -f --from-position --since -s --url -u --wait --json -j --text --quiet -q --help -h" ;;
        dead) words="list show count retry edit discard --type -t --subscription -s --reason -r --older-than --limit -n --all -a --dry-run --by -b --data -D --data-file --content-type --url -u --wait --json -j --text --quiet -q --help -h" ;;
        schedule) words="list cancel --type -t --subject -s --correlation -c --source --limit -n --all -a --dry-run --url -u --wait --json -j --text --quiet -q --help -h" ;;
        stats) words=" --types -t --limit -n --url -u --wait --json -j --text --quiet -q --help -h" ;;
        import) words=" --format --type -t --type-from --time-from --subject-from --correlation-from --strict --dry-run --from-line --batch --durability -d --url -u --wait --json -j --text --quiet -q --help -h" files=1 ;;
        export) words=" --output -o --format --append -a --rotate --max-file-size-mb --follow -f --type -t --subject -s --correlation -c --causation --source --id -i --since --until --from-position --to-position --contains --limit -n --after --url -u --wait --json -j --text --quiet -q --help -h" ;;
        archive) words=" --before -b --url -u --wait --json -j --text --quiet -q --help -h" ;;
        doctor) words=" --repair -r --from -f --dry-run --yes -y --url -u --wait --json -j --text --quiet -q --help -h" ;;
        erase) words=" --subject -s --count -c --yes -y --url -u --wait --json -j --text --quiet -q --help -h" ;;
        explain) words=" --pattern -p --event -e --subscription -s --url -u --wait --json -j --text --quiet -q --help -h" ;;
        bench) words=" --directory -D --seconds -s --url -u --wait --json -j --text --quiet -q --help -h" ;;
        completion) words="bash zsh --url -u --wait --json -j --text --quiet -q --help -h" ;;
        esac ;;
    esac
    [ -n "$nothing" ] && return
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
    if [ -n "$files" ] && [ "${word#-}" = "$word" ]; then
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$word")
        compopt -o filenames
    fi
}
complete -F _peal peal
