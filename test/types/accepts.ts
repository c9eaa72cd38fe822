/** Accepts a value of a type. The files in this folder are compiled but never run. */
export declare function accepts<T>(value: T): void;
