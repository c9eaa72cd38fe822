import { ArmtError, quote } from "../../util/errors.js";
import { PickleInput } from "./pickle-input.js";
import { PickleGlobal, PickleOpaque, PickleTuple, type PickleValue } from "./pickle-values.js";

export type PickleHandlers = {
    /** Names that may be referred to, as "module name". */
    globals: ReadonlySet<string>;
    /** Calls an allowed name. */
    call: (name: string, args: readonly PickleValue[]) => PickleValue;
    /** Names, as "module name", whose objects become `PickleOpaque`. Default: none. */
    opaque?: ReadonlySet<string>;
    /** Resolves a persistent id. */
    load: (id: PickleValue) => PickleValue;
};

const MARK = Symbol("mark");
const STOP = 0x2e;

/** Names of refused opcodes that a hostile or unusual pickle is likely to hold. */
const refusedNames: Record<number, string> = {
    80: "PERSID",
    105: "INST",
    111: "OBJ",
    130: "EXT1",
    131: "EXT2",
    132: "EXT4",
    146: "NEWOBJ_EX"
};

/**
 * Runs a pickle on a machine that can only build tensors and plain containers: it knows no import, and calls only names
 * on the allow-list, which are functions of the reader.
 * @throws {ArmtError} that names the refused global or opcode
 */
export function unpickle(bytes: Buffer, handlers: PickleHandlers): PickleValue {
    return new Machine(new PickleInput(bytes), handlers).run();
}

class Machine {
    private readonly stack: (PickleValue | typeof MARK)[] = [];
    private readonly memo = new Map<number, PickleValue>();

    constructor(
        private readonly input: PickleInput,
        private readonly handlers: PickleHandlers
    ) {}

    run(): PickleValue {
        for (;;) {
            const opcode = this.input.uint8();
            if (opcode === STOP) return this.pop();
            let value = this.scalar(opcode);
            if (value === undefined) value = this.container(opcode);
            if (value === undefined) value = this.reference(opcode);
            if (value === undefined) this.change(opcode);
            else this.stack.push(value);
        }
    }

    /** Opcodes that push None, a truth value, a number, text or bytes. */
    private scalar(opcode: number): PickleValue | undefined {
        switch (opcode) {
            case 0x4e: // NONE
                return null;
            case 0x88: // NEWTRUE
                return true;
            case 0x89: // NEWFALSE
                return false;
            case 0x4b: // BININT1
                return this.input.uint8();
            case 0x4d: // BININT2
                return this.input.take(2).readUInt16LE();
            case 0x4a: // BININT
                return this.input.take(4).readInt32LE();
            case 0x8a: // LONG1
                return this.input.long(this.input.uint8());
            case 0x47: // BINFLOAT
                return this.input.take(8).readDoubleBE();
            case 0x58: // BINUNICODE
            case 0x54: // BINSTRING, which is text in Python 2's pickles
                return this.input.text(this.input.uint32());
            case 0x8c: // SHORT_BINUNICODE
            case 0x55: // SHORT_BINSTRING
                return this.input.text(this.input.uint8());
            case 0x42: // BINBYTES
                return this.input.take(this.input.uint32());
            case 0x43: // SHORT_BINBYTES
                return this.input.take(this.input.uint8());
            default:
                return undefined;
        }
    }

    /** Opcodes that push a new container. */
    private container(opcode: number): PickleValue | undefined {
        switch (opcode) {
            case 0x5d: // EMPTY_LIST
                return [];
            case 0x6c: // LIST
                return this.popToMark();
            case 0x7d: // EMPTY_DICT
                return new Map();
            case 0x64: // DICT
                return this.fill(new Map(), this.popToMark());
            case 0x29: // EMPTY_TUPLE
                return new PickleTuple([]);
            case 0x85: // TUPLE1
            case 0x86: // TUPLE2
            case 0x87: // TUPLE3
                return new PickleTuple(this.popMany(opcode - 0x84));
            case 0x74: // TUPLE
                return new PickleTuple(this.popToMark());
            default:
                return undefined;
        }
    }

    /** Opcodes that push the object behind a name, a call, a persistent id or the memo. */
    private reference(opcode: number): PickleValue | undefined {
        switch (opcode) {
            case 0x63: // GLOBAL
                return this.global(this.input.line(), this.input.line());
            case 0x93: // STACK_GLOBAL
                return this.global(...(this.popMany(2) as [PickleValue, PickleValue]));
            case 0x52: // REDUCE
                return this.call(...(this.popMany(2) as [PickleValue, PickleValue]));
            case 0x81: // NEWOBJ
                return this.newObject(this.popMany(2)[0]!);
            case 0x51: // BINPERSID
                return this.handlers.load(this.pop());
            case 0x68: // BINGET
                return this.recall(this.input.uint8());
            case 0x6a: // LONG_BINGET
                return this.recall(this.input.uint32());
            case 0x32: // DUP
                return this.top();
            default:
                return undefined;
        }
    }

    /** Opcodes that change the machine without pushing a value. */
    private change(opcode: number): void {
        switch (opcode) {
            case 0x80: // PROTO
                this.protocol(this.input.uint8());
                break;
            case 0x95: // FRAME, a length that only helps buffering
                this.input.take(8);
                break;
            case 0x28: // MARK
                this.stack.push(MARK);
                break;
            case 0x30: // POP
                this.pop();
                break;
            case 0x31: // POP_MARK
                this.popToMark();
                break;
            case 0x61: // APPEND
                this.append([this.pop()]);
                break;
            case 0x65: // APPENDS
                this.append(this.popToMark());
                break;
            case 0x73: // SETITEM
                this.setItems(this.popMany(2));
                break;
            case 0x75: // SETITEMS
                this.setItems(this.popToMark());
                break;
            case 0x62: // BUILD
                this.build(this.pop());
                break;
            case 0x71: // BINPUT
                this.memo.set(this.input.uint8(), this.top());
                break;
            case 0x72: // LONG_BINPUT
                this.memo.set(this.input.uint32(), this.top());
                break;
            case 0x94: // MEMOIZE
                this.memo.set(this.memo.size, this.top());
                break;
            default:
                throw this.input.error(`refused opcode ${refusedNames[opcode] ?? `0x${opcode.toString(16)}`}`);
        }
    }

    private protocol(version: number): void {
        if (version < 2 || version > 5) throw this.input.error(`protocol ${version} is not supported`);
    }

    private global(module: PickleValue, name: PickleValue): PickleGlobal {
        if (typeof module !== "string" || typeof name !== "string") throw this.input.error("a name that is not text");
        if (!this.handlers.globals.has(`${module} ${name}`) && !this.isOpaque(`${module} ${name}`))
            throw new ArmtError(
                `its pickle refers to ${quote(`${module}.${name}`)}, which no plain checkpoint needs; refused, ` +
                    "nothing was run"
            );
        return new PickleGlobal(`${module} ${name}`);
    }

    private call(callee: PickleValue, args: PickleValue): PickleValue {
        if (!(callee instanceof PickleGlobal) || !(args instanceof PickleTuple)) throw this.input.error("bad call");
        if (this.isOpaque(callee.name)) return new PickleOpaque();
        return this.handlers.call(callee.name, args.items);
    }

    private isOpaque(name: string): boolean {
        return this.handlers.opaque?.has(name) === true;
    }

    /** An object made without a call is opaque, or it is refused. */
    private newObject(callee: PickleValue): PickleValue {
        if (!(callee instanceof PickleGlobal) || !this.isOpaque(callee.name))
            throw this.input.error("refused opcode NEWOBJ");
        return new PickleOpaque();
    }

    /** Attributes of a dictionary (`_metadata` of a state dict) are dropped; other objects have none. */
    private build(state: PickleValue): void {
        if (this.top() instanceof PickleOpaque) return;
        if (!(this.top() instanceof Map) || !(state instanceof Map))
            throw this.input.error("refused BUILD of an object");
    }

    private recall(slot: number): PickleValue {
        const value = this.memo.get(slot);
        if (value === undefined) throw this.input.error(`nothing in memo slot ${slot}`);
        return value;
    }

    private append(items: PickleValue[]): void {
        const list = this.top();
        if (!Array.isArray(list)) throw this.input.error("append to what is not a list");
        for (const item of items) list.push(item);
    }

    private setItems(items: PickleValue[]): void {
        const target = this.top();
        if (!(target instanceof Map)) throw this.input.error("items are set on something that is not a dictionary");
        this.fill(target, items);
    }

    private fill(target: Map<PickleValue, PickleValue>, items: PickleValue[]): Map<PickleValue, PickleValue> {
        if (items.length % 2 !== 0) throw this.input.error("a dictionary key without value");
        for (let i = 0; i < items.length; i += 2) target.set(items[i]!, items[i + 1]!);
        return target;
    }

    private top(): PickleValue {
        const value = this.stack.at(-1);
        if (value === undefined || value === MARK) throw this.input.error("empty stack");
        return value;
    }

    private pop(): PickleValue {
        const value = this.top();
        this.stack.pop();
        return value;
    }

    private popMany(count: number): PickleValue[] {
        return Array.from({ length: count }, () => this.pop()).reverse();
    }

    private popToMark(): PickleValue[] {
        const start = this.stack.lastIndexOf(MARK);
        if (start < 0) throw this.input.error("no mark");
        return this.stack.splice(start).slice(1) as PickleValue[];
    }
}
