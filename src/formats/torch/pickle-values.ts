/** A name that a pickle refers to; only those on the reader's allow-list exist. */
export class PickleGlobal {
    constructor(
        /** "module name" */
        public readonly name: string
    ) {}
}

/** A Python tuple. */
export class PickleTuple {
    constructor(public readonly items: readonly PickleValue[]) {}
}

/** Objects made by the reader's own functions. */
export abstract class PickleObject {
    abstract readonly kind: string;
}

/** Replaces an object that no weight needs, such as a numpy number or a run's arguments. Its content is dropped. */
export class PickleOpaque extends PickleObject {
    override readonly kind = "opaque";
}

/** What a pickle can build: plain values and containers, and what the reader makes of allowed names. */
export type PickleValue =
    | null
    | boolean
    | number
    | bigint
    | string
    | Uint8Array
    | PickleValue[]
    | PickleTuple
    | Map<PickleValue, PickleValue>
    | PickleGlobal
    | PickleObject;
