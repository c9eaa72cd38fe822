#pragma once

#include <string>

// What ArmtLibrary needs from the system's loader. The scheme is the same everywhere: our libllama is opened by its
// absolute path before node-llama-cpp's addon. When the addon asks for a library of that name, the loader takes the one
// that is loaded.
//
// - Linux (glibc): the name is the SONAME. The loader compares it with those of the loaded libraries before it
// searches. Tested.
// - macOS: the name is the install name, `@rpath/libllama….dylib`, which dyld compares with those of the loaded images.
// Untested.
// - Windows: the name is the module's base name, `llama….dll`. The loader takes a loaded module of that name, whatever
// its path.
//   Untested.
//
// If a loader behaves differently, ArmtLibrary::verify() finds another library under the name and reports it.

// Opens a library for good and keeps its symbols local. Throws std::runtime_error with the path and the loader's
// reason.
void * armt_open_library(const std::string & path);

// The library that is loaded under a file name, or nullptr
void * armt_loaded_library(const std::string & file_name);

// Absolute path of a loaded library; empty if the system cannot tell
std::string armt_path_of_library(void * handle);

// A function of a library, or nullptr
void * armt_find_symbol(void * handle, const char * name);

// Last part of a path
std::string armt_file_name(const std::string & path);
