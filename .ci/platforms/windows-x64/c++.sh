#!/bin/sh
# Zig's C++ compiler for Windows. A DLL here exports all that it holds. This leaves the C and C++ runtime, of which each
# DLL has its own copy, out of the DLL's import library. ARMT_TOOLS: the folder of its commands
set -eu
"$ARMT_TOOLS/c++" "$@"

dll= library= previous=
for argument; do
    [ "$previous" = -o ] && dll=$argument
    case $argument in -Wl,--out-implib,*) library=${argument#-Wl,--out-implib,} ;; esac
    previous=$argument
done
case $dll in
    *.dll)
        {
            printf 'LIBRARY %s\nEXPORTS\n' "$(basename "$dll")"
            llvm-readobj --coff-exports "$dll" | sed -n 's/^ *Name: //p' | grep -E '^(llama|armt|ggml|gguf|_Z)' |
                grep -Ev '^_Z(N?K?St|T[ISV]N?K?St|Th|GV|n[aw]|d[al])'
        } >"$library.def"
        "$ARMT_TOOLS/dlltool" -m i386:x86-64 -d "$library.def" -l "$library"
        ;;
esac
