#!/bin/sh
# Print a token of a GitHub App for the repositories that it is installed for. It is valid for an hour.
#
#   github-app-token.sh APP INSTALLATION KEY [REPOSITORY …]
#
# APP: the App's client id or its number; INSTALLATION: the number of the installation; KEY: the file with the App's
# private key, which stays on this machine; REPOSITORY: names without the owner, for a token of these alone.
# It needs openssl and curl. GITHUB_API_URL is another server than api.github.com.
set -eu

app=$1 installation=$2 key=$3
shift 3
for word in "$app" "$installation" "$@"; do
    case $word in
    '' | *[!A-Za-z0-9._-]*) echo "github-app-token: '$word' is no id or name" >&2; exit 2 ;;
    esac
done

base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

# The clock of this machine may be a minute fast. GitHub accepts ten minutes at most.
now=$(date +%s)
header=$(printf '{"alg":"RS256","typ":"JWT"}' | base64url)
claims=$(printf '{"iat":%d,"exp":%d,"iss":"%s"}' $((now - 60)) $((now + 480)) "$app" | base64url)
signature=$(printf '%s.%s' "$header" "$claims" | openssl dgst -sha256 -sign "$key" -binary | base64url)
[ "$signature" ] || exit 1

names=$(printf ',"%s"' "$@")
body='{}'
[ $# -eq 0 ] || body="{\"repositories\":[${names#,}]}"

# The JWT goes through standard input: other users of this machine see the arguments of a program.
answer=$(
    printf 'header = "Authorization: Bearer %s.%s.%s"\n' "$header" "$claims" "$signature" |
        curl --silent --show-error --fail --max-time 30 --config - \
            --header 'Accept: application/vnd.github+json' --header 'X-GitHub-Api-Version: 2022-11-28' \
            --data "$body" "${GITHUB_API_URL:-https://api.github.com}/app/installations/$installation/access_tokens"
)
token=$(printf '%s\n' "$answer" | sed -n 's/.*"token": *"\([A-Za-z0-9_.-]*\)".*/\1/p' | head -n 1)
[ "$token" ] || { echo "github-app-token: the answer has no token" >&2; exit 1; }
printf '%s\n' "$token"
