{
    "targets": [
        {
            "target_name": "armt",
            "sources": [
                "native/addon/addon.cpp",
                "native/addon/ArmtArguments.cpp",
                "native/addon/ArmtContexts.cpp",
                "native/addon/ArmtDecode.cpp",
                "native/addon/ArmtLibrary.cpp",
                "native/addon/ArmtMemory.cpp",
                "native/addon/ArmtProducts.cpp",
                "native/addon/ArmtQuantize.cpp",
                "native/addon/ArmtState.cpp",
                "native/addon/ArmtTrace.cpp",
                "native/addon/ArmtWorker.cpp",
                "native/addon/SharedLibrary.cpp",
                "native/addon/WeightBuffers.cpp"
            ],
            "dependencies": ["<!(node -p \"require('node-addon-api').targets\"):node_addon_api_except"],
            "include_dirs": [
                "native/engine",
                "native/build/llama.cpp/include",
                "native/build/llama.cpp/ggml/include"
            ],
            "defines": ["NAPI_VERSION=9"],
            "cflags_cc": ["-std=c++17", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"],
            "conditions": [
                ["OS == 'linux'", {"libraries": ["-ldl"]}],
                ["OS == 'mac'", {
                    "xcode_settings": {"CLANG_CXX_LANGUAGE_STANDARD": "c++17", "GCC_SYMBOLS_PRIVATE_EXTERN": "YES"}
                }],
                ["OS == 'win'", {
                    "msvs_settings": {"VCCLCompilerTool": {"AdditionalOptions": ["/std:c++17"]}}
                }]
            ]
        }
    ]
}
