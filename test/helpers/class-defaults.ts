/** Keys that the config of the authors' class has of its own, with their defaults. The newest class dropped most. */
export const classDefaults = {
    base_model_name: null,
    freeze_mem: false,
    sliding_window: false,
    attend_to_previous_input: false,
    use_sink: false,
    act_on: false,
    max_hop: 4,
    act_type: "associative",
    act_format: "linear",
    noisy_halting: false,
    constant_depth: false,
    time_penalty: 0
};
