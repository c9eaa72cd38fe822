#!/bin/sh
# Zig's C++ compiler for Windows. A DLL here exports all that it holds. This leaves the C and C++ runtime, of which each
# DLL has its own copy, out of the DLL's import library. ARMT_ZIG: the command
set -eu
$ARMT_ZIG c++ -target x86_64-windows-gnu "$@"

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
        $ARMT_ZIG dlltool -m i386:x86-64 -d "$library.def" -l "$library"
        ;;
esac
