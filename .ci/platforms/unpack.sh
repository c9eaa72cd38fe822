# shellcheck shell=bash
# For the scripts beside it, which source it

# Unpacks a package of npm's registry into a folder, unless that is there. A folder is complete once it has its name.
unpack() { # <npm package> <folder>
    [[ -d $2 ]] && return
    local archive
    rm -rf "$2.new"
    mkdir -p "$2.new"
    archive=$(npm pack --silent --pack-destination "$2.new" "$1")
    tar xzf "$2.new/$archive" -C "$2.new" --strip-components=1
    rm "$2.new/$archive"
    mv "$2.new" "$2"
}
