// For ../linux-x64-vulkan.sh, as LD_PRELOAD: Vulkan buffers and their memory are never freed. Mesa 22.3.6's software
// renderer uses buffers after vkDestroyBuffer, even if the device was idle then.
//
// ARMT_WAIT=1 frees them instead, each after vkDeviceWaitIdle, which shows that the fault is not the caller's.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

typedef void (*function)(void);
typedef void (*release)(void * device, void * object, const void * allocator);

static function (*get_function)(void * instance, const char * name);
static int (*wait_idle)(void * device);
static release destroy_buffer;
static release free_memory;

static void release_after_wait(release original, void * device, void * object, const void * allocator) {
    if (getenv("ARMT_WAIT") != NULL) {
        wait_idle(device);
        original(device, object, allocator);
    }
}

static void on_destroy_buffer(void * device, void * buffer, const void * allocator) {
    release_after_wait(destroy_buffer, device, buffer, allocator);
}

static void on_free_memory(void * device, void * memory, const void * allocator) {
    release_after_wait(free_memory, device, memory, allocator);
}

// ggml takes all functions of Vulkan from here
function vkGetInstanceProcAddr(void * instance, const char * name) {
    if (get_function == NULL) {
        get_function = (function(*)(void *, const char *)) dlsym(RTLD_NEXT, "vkGetInstanceProcAddr");
        if (get_function == NULL) {
            void * loader = dlopen("libvulkan.so.1", RTLD_NOW);
            get_function  = (function(*)(void *, const char *)) dlsym(loader, "vkGetInstanceProcAddr");
        }
    }
    function found = get_function(instance, name);
    if (strcmp(name, "vkDestroyBuffer") == 0) {
        wait_idle      = (int (*)(void *)) get_function(instance, "vkDeviceWaitIdle");
        destroy_buffer = (release) found;
        return (function) on_destroy_buffer;
    }
    if (strcmp(name, "vkFreeMemory") == 0) {
        free_memory = (release) found;
        return (function) on_free_memory;
    }
    return found;
}
