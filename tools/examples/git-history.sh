#!/bin/sh
# Turns the history of a git checkout into input for `thingdb append`: a thing
# per file, an entry per commit that touched it, oldest first.
#
#   git-history.sh [DIR] [GIT-LOG-ARGUMENT...] | thingdb append
#
# The thing is the path as git prints it: as it is, or in double quotes with
# backslash escapes if it holds a quote, a backslash or a control character,
# which a thing id may not hold. The time of the commit is a claim of the
# source and becomes part of the data. Merges are left out, as `git log` does.
set -eu
dir=${1:-.}
[ $# -eq 0 ] || shift

# Bytes, not characters: what is not UTF-8 is for `thingdb append` to refuse.
LC_ALL=C
export LC_ALL
tab=$(printf '\t')

# Four lines a commit, each with a letter before it, then a line a file:
# `:100644 100644 OLD NEW M<tab>PATH`. Only paths and subjects are free text;
# control characters in them would not be JSON, and git has escaped those of
# paths already.
git -C "$dir" -c core.quotePath=false log --reverse --raw --no-renames --no-abbrev --date-order \
    --format='H%H%nT%cI%nA%an <%ae>%nS%s' "$@" |
tr '\001-\010\013-\037\177' '?' |
sed -n '
    /^H/ {
        N
        N
        N
        s/["\\]/\\&/g
        s/'"$tab"'/ /g
        s/^H\(.*\)\nT\(.*\)\nA\(.*\)\nS\(.*\)$/"time":"\2","data":{"commit":"\1","author":"\3","subject":"\4",/
        h
    }
    /^:/ {
        s/["\\]/\\&/g
        G
        s/^:[0-7]* \([0-7]*\) [0-9a-f]* \([0-9a-f]*\) \([A-Z]\)[0-9]*'"$tab"'\(.*\)\n\(.*\)$/{"thing":"\4","action":"\3",\5"mode":"\1","blob":"\2"}}/
        s/,"action":"A",/,"action":"create",/
        s/,"action":"D",/,"action":"retire",/
        s/,"action":"[A-Z]",/,"action":"update",/
        p
    }
'
