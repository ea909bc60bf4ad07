// Reads an AsyncAPI document with AsyncAPI's own parser. Prints what it finds; exit code 1 where one is an error.
import { readFile } from "node:fs/promises";
import { Parser } from "@asyncapi/parser";

const path = process.argv[2];
const { document, diagnostics } = await new Parser().parse(await readFile(path, "utf8"), { source: path });
for (const { severity, code, message, path: place } of diagnostics) {
  console.log(`${["error", "warning", "information", "hint"][severity]} ${code} ${place.join(".")}: ${message}`);
}
process.exit(document && diagnostics.every(({ severity }) => severity !== 0) ? 0 : 1);
