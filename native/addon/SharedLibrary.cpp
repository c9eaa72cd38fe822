#include "SharedLibrary.h"

#include <stdexcept>

#ifdef _WIN32

#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>

#include <vector>

static std::wstring widen(const std::string & text) {
    const int    length = MultiByteToWideChar(CP_UTF8, 0, text.data(), int(text.size()), nullptr, 0);
    std::wstring wide(size_t(length), L'\0');
    MultiByteToWideChar(CP_UTF8, 0, text.data(), int(text.size()), &wide[0], length);
    return wide;
}

static std::string narrow(const std::wstring & wide) {
    const int   length = WideCharToMultiByte(CP_UTF8, 0, wide.data(), int(wide.size()), nullptr, 0, nullptr, nullptr);
    std::string text(size_t(length), '\0');
    WideCharToMultiByte(CP_UTF8, 0, wide.data(), int(wide.size()), &text[0], length, nullptr, nullptr);
    return text;
}

// The form of an absolute path in which Windows opens it however long it is
static std::wstring openable(const std::string & path) {
    std::wstring wide = widen(path);
    if (wide.size() < 248 || wide.compare(0, 2, L"\\\\") == 0) {
        return wide;
    }
    for (wchar_t & c : wide) {
        c = c == L'/' ? L'\\' : c;
    }
    return L"\\\\?\\" + wide;
}

void * armt_open_library(const std::string & path) {
    // searches the library's folder and the usual ones for its dependencies, but not the current folder
    const HMODULE handle = LoadLibraryExW(openable(path).c_str(), nullptr,
                                          LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | LOAD_LIBRARY_SEARCH_DEFAULT_DIRS);
    if (handle == nullptr) {
        throw std::runtime_error("cannot load " + path + ": Windows error " + std::to_string(GetLastError()));
    }
    // keeps the library loaded for good
    HMODULE pinned = nullptr;
    GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
                       reinterpret_cast<LPCWSTR>(handle), &pinned);
    return handle;
}

void * armt_loaded_library(const std::string & file_name) {
    return GetModuleHandleW(widen(file_name).c_str());
}

std::string armt_path_of_library(void * handle) {
    // long enough for any path that Windows can open
    std::vector<wchar_t> buffer(32768);
    const DWORD          length = GetModuleFileNameW(static_cast<HMODULE>(handle), buffer.data(), DWORD(buffer.size()));
    return narrow(std::wstring(buffer.data(), length));
}

void * armt_find_symbol(void * handle, const char * name) {
    return reinterpret_cast<void *>(GetProcAddress(static_cast<HMODULE>(handle), name));
}

std::string armt_file_name(const std::string & path) {
    return path.substr(path.find_last_of("/\\") + 1);
}

#else

#include <dlfcn.h>

#ifdef __APPLE__
#include <mach-o/dyld.h>
#else
#include <link.h>
#endif

static std::string dl_message() {
    const char * message = dlerror();
    return message == nullptr ? "unknown error" : message;
}

// RTLD_LOCAL: our llama_* symbols must not replace those of node-llama-cpp's other variants (CUDA, Vulkan), whose
// libraries have other names
void * armt_open_library(const std::string & path) {
    void * handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (handle == nullptr) {
        throw std::runtime_error("cannot load " + path + ": " + dl_message());
    }
    return handle;
}

// The handle is never closed, because the library stays loaded for good.
void * armt_loaded_library(const std::string & file_name) {
#ifdef __APPLE__
    const std::string name = "@rpath/" + file_name;
#else
    const std::string & name = file_name;
#endif
    return dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
}

std::string armt_path_of_library(void * handle) {
#ifdef __APPLE__
    // dyld cannot tell the path of a handle, but opening a loaded image again returns the same handle
    for (uint32_t i = 0; i < _dyld_image_count(); ++i) {
        const char * name  = _dyld_get_image_name(i);
        void *       other = name == nullptr ? nullptr : dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
        if (other == nullptr) {
            continue;
        }
        dlclose(other);
        if (other == handle) {
            return name;
        }
    }
    return "";
#else
    link_map *          map  = nullptr;
    return dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map != nullptr ? map->l_name : "";
#endif
}

void * armt_find_symbol(void * handle, const char * name) {
    return dlsym(handle, name);
}

std::string armt_file_name(const std::string & path) {
    return path.substr(path.rfind('/') + 1);
}

#endif
