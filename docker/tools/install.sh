#!/bin/sh
# Fills /opt/carapulse/tools with the command lines that actions call, and writes which are there.
#
# In: the versions as <NAME>_VERSION, TARGETARCH, TOOLS_MISSING (fail|report), TOOLS_FROM (vendor|local: nothing is
# downloaded), and beside this script local/<arch>/<name>: programs that are taken as they are instead of the vendor's.
# Out: bin/<name>, and manifest.txt: name, version as the program says it, where it is from, its sha256; a tool that is
# not there has the version `missing` and the reason.
# Always: a download is checked against what the vendor publishes for that version (a file of sums; AWS: its signature).
# One that does not match fails the build in either mode. A missing tool is never replaced by anything.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
arch=${TARGETARCH:-$(dpkg --print-architecture)}
dest=${TOOLS_DEST:-/opt/carapulse/tools}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME="$work"

# The fingerprint that AWS publishes for the AWS CLI team's key, in the CLI's installation guide. The key itself comes
# from a key server, because AWS prolongs it every year: the fingerprint is what decides.
AWS_KEY=FB5DB77FD5C118B80511ADA8A6310ACC4672475C

die() {
    echo "tools: $*" >&2
    exit 1
}

fetch() {
    curl --fail --silent --show-error --location --proto '=https' --tlsv1.2 \
        --connect-timeout 10 --max-time 600 --retry 2 --output "$2" "$1"
}

# check FILE SUMS: FILE's line in a vendor's file of sums; a file with one bare sum is of FILE alone.
check() {
    name=$(basename "$1")
    sum=$(awk -v name="$name" 'NF == 1 || $2 == name || $2 == "*" name { print $1; exit }' "$2")
    [ -n "$sum" ] || die "$2 has no sum for $name"
    echo "$sum  $1" | sha256sum --check --status - || die "$name is not what its vendor published: $sum"
}

# vendor NAME: downloads and checks; leaves the program in $work/NAME. Fails when the vendor cannot be reached.
vendor() {
    case $1 in
        kubectl)
            base=https://dl.k8s.io/release/$KUBECTL_VERSION/bin/linux/$arch
            fetch "$base/kubectl" "$work/kubectl" && fetch "$base/kubectl.sha256" "$work/sums" || return 1
            check "$work/kubectl" "$work/sums"
            ;;
        helm)
            file=helm-$HELM_VERSION-linux-$arch.tar.gz
            archive "https://get.helm.sh/$file" "https://get.helm.sh/$file.sha256sum" helm
            ;;
        argocd)
            base=https://github.com/argoproj/argo-cd/releases/download/$ARGOCD_VERSION
            file=argocd-linux-$arch
            fetch "$base/$file" "$work/$file" && fetch "$base/cli_checksums.txt" "$work/sums" || return 1
            check "$work/$file" "$work/sums"
            mv "$work/$file" "$work/argocd"
            ;;
        vault) hashicorp vault "$VAULT_VERSION" ;;
        boundary) hashicorp boundary "$BOUNDARY_VERSION" ;;
        gh)
            base=https://github.com/cli/cli/releases/download/v$GH_VERSION
            archive "$base/gh_${GH_VERSION}_linux_$arch.tar.gz" "$base/gh_${GH_VERSION}_checksums.txt" gh
            ;;
        glab)
            base=https://gitlab.com/gitlab-org/cli/-/releases/v$GLAB_VERSION/downloads
            archive "$base/glab_${GLAB_VERSION}_linux_$arch.tar.gz" "$base/checksums.txt" glab
            ;;
        aws) aws ;;
        *) die "no vendor for $1" ;;
    esac
}

# archive URL SUMS_URL PROGRAM: a tar.gz or zip with PROGRAM somewhere in it.
archive() {
    file=$work/$(basename "$1")
    fetch "$1" "$file" && fetch "$2" "$work/sums" || return 1
    check "$file" "$work/sums"
    mkdir "$work/unpacked"
    case $file in
        *.zip) unzip -q "$file" -d "$work/unpacked" ;;
        *) tar -xzf "$file" -C "$work/unpacked" ;;
    esac
    found=$(find "$work/unpacked" -type f -name "$3" | head -n 1)
    [ -n "$found" ] || die "$1 has no program $3"
    mv "$found" "$work/$3"
    rm -rf "$work/unpacked" "$file"
}

hashicorp() {
    base=https://releases.hashicorp.com/$1/$2
    archive "$base/${1}_${2}_linux_$arch.zip" "$base/${1}_${2}_SHA256SUMS" "$1"
}

# AWS publishes no sums but a signature; the program is a folder, installed beside bin/.
aws() {
    case $arch in
        amd64) machine=x86_64 ;;
        arm64) machine=aarch64 ;;
        *) die "AWS publishes no CLI for $arch" ;;
    esac
    url=https://awscli.amazonaws.com/awscli-exe-linux-$machine-$AWSCLI_VERSION.zip
    fetch "$url" "$work/aws.zip" && fetch "$url.sig" "$work/aws.sig" || return 1
    fetch "https://keyserver.ubuntu.com/pks/lookup?op=get&options=mr&search=0x$AWS_KEY" "$work/aws.asc" || return 1
    export GNUPGHOME="$work/gnupg"
    install -d -m 0700 "$GNUPGHOME"
    gpg --batch --quiet --import "$work/aws.asc"
    gpg --batch --status-fd 1 --verify "$work/aws.sig" "$work/aws.zip" > "$work/status" 2> "$work/verify.log" \
        || die "aws: $(cat "$work/verify.log")"
    grep -q "^\[GNUPG:\] VALIDSIG $AWS_KEY " "$work/status" || die "aws: signed by another key"
    unzip -q "$work/aws.zip" -d "$work/unpacked"
    "$work/unpacked/aws/install" --install-dir "$dest/aws-cli" --bin-dir "$dest/bin" > /dev/null
    rm -rf "$work/unpacked"
}

# What the program says its version is.
version() {
    case $1 in
        kubectl) words="version --client" ;;
        helm) words="version --short" ;;
        argocd) words="version --client --short" ;;
        vault | boundary) words=version ;;
        *) words=--version ;;
    esac
    # shellcheck disable=SC2086 # the words are several on purpose
    said=$("$dest/bin/$1" $words 2>&1) || die "$1 does not run here: $said"
    echo "$said" | grep -Eo '[0-9]+\.[0-9]+(\.[0-9]+)?' | head -n 1
}

row() {
    printf '%s\t%s\t%s\t%s\n' "$@" >> "$dest/manifest.txt"
}

install -d -m 0755 "$dest/bin"
row name version source sha256
missing=
for tool in kubectl helm argocd vault boundary gh glab aws; do
    if [ -f "$here/local/$arch/$tool" ]; then
        install -m 0755 "$here/local/$arch/$tool" "$dest/bin/$tool"
        source=local
    elif [ "${TOOLS_FROM:-vendor}" = local ]; then
        row "$tool" missing "not in the local folder" -
        missing="$missing $tool"
        continue
    elif vendor "$tool"; then
        [ "$tool" = aws ] || install -m 0755 "$work/$tool" "$dest/bin/$tool"
        source=vendor
    else
        row "$tool" missing "its vendor cannot be reached" -
        missing="$missing $tool"
        continue
    fi
    row "$tool" "$(version "$tool")" "$source" "$(sha256sum "$dest/bin/$tool" | cut -d ' ' -f 1)"
done

if [ -n "$missing" ] && [ "${TOOLS_MISSING:-fail}" != report ]; then
    die "missing:$missing (put them into docker/tools/local/$arch, or build with TOOLS_MISSING=report)"
fi
