// Bundles preact.js into api/static/vendor/preact/ with the licences, and writes vendor.json. Run by `make vendor`.
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { buildSync } from "esbuild";

const here = new URL("./", import.meta.url).pathname;
const folder = process.argv[2] ?? `${here}../api/static/vendor/preact`;
const lock = JSON.parse(readFileSync(`${here}package-lock.json`, "utf8")).packages;
const bundled = ["preact", "htm", "@preact/signals", "@preact/signals-core"];

mkdirSync(folder, { recursive: true });
buildSync({
  entryPoints: [`${here}preact.js`], outfile: `${folder}/preact.js`,
  bundle: true, minify: true, format: "esm", target: "es2022", legalComments: "none", absWorkingDir: here,
});

const packages = bundled.map((name) => {
  const { version, license, integrity } = lock[`node_modules/${name}`];
  const file = `LICENSE-${name.replace("@", "").replace("/", "-")}`;
  copyFileSync(`${here}node_modules/${name}/LICENSE`, `${folder}/${file}`);
  return { name, version, licence: license, integrity, licence_file: file };
});
copyFileSync(`${here}preact.d.ts`, `${folder}/preact.d.ts`);
const sha256 = createHash("sha256").update(readFileSync(`${folder}/preact.js`)).digest("hex");
const bundler = `esbuild ${lock["node_modules/esbuild"].version}`;
writeFileSync(`${folder}/vendor.json`, JSON.stringify({ file: "preact.js", sha256, bundler, rebuild: "make vendor", packages }, null, 2) + "\n");
