import { extendZodWithOpenApi } from "@asteasolutions/zod-to-openapi";
import { z } from "zod";

extendZodWithOpenApi(z);

export { z };

/** Text that is whole: half of a surrogate pair cannot be tokenized. */
export const text = () =>
    z.string().refine((value) => !/\p{Surrogate}/u.test(value), {
        error: "holds half of a surrogate pair, which is no character"
    });

/** OpenAI's optional parameters may be null, which means the default. */
export function optional<T extends z.ZodType>(schema: T) {
    return schema.nullish().transform((value) => value ?? undefined);
}
