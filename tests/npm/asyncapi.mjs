// Reads an AsyncAPI document from standard input, and prints what its parser finds wrong with it, one line each.
import { readFileSync } from "node:fs";
import parsing from "@asyncapi/parser";

const { diagnostics } = await new parsing.Parser().parse(readFileSync(0, "utf8"));
for (const found of diagnostics) console.log(`${found.severity} ${found.path.join(".")}: ${found.message}`);
