// Every call of this server, read from its own OpenAPI description.

import { element } from "./reader.js";

const api = await (await fetch("openapi.json")).json();
document.querySelector("h1").textContent = `${api.info.title} ${api.info.version}`;
document.querySelector(".sheet > p").append(api.info.description + " ", element("a", { href: "openapi.json", textContent: "openapi.json" }));

function followed(schema) {
  if (!schema?.$ref) return schema;
  return schema.$ref.split("/").slice(1).reduce((part, key) => part[key], api);
}

function typeOf(schema) {
  const own = followed(schema) ?? {};
  if (own.anyOf) return own.anyOf.map(typeOf).join(" | ");
  if (own.type === "array") return `[${typeOf(own.items)}]`;
  return own.format ?? own.type ?? own.title ?? "any";
}

function rowsOf(call) {
  const rows = (call.parameters ?? []).map((p) => [p.name, `${p.in}, ${typeOf(p.schema)}`, p.description ?? p.schema?.description ?? "", p.required]);
  const body = call.requestBody?.content?.["application/json"]?.schema;
  const schemas = body ? (body.anyOf ?? [body]).map(followed).filter((schema) => schema.properties) : [];
  for (const schema of schemas) {
    for (const [name, field] of Object.entries(schema.properties)) rows.push([name, `body, ${typeOf(field)}`, field.description ?? "", schema.required?.includes(name)]);
  }
  return rows;
}

function tryOut(path, call) {
  const names = [...path.matchAll(/{([^}]+)}/g)].map((match) => match[1]);
  const inputs = (call.parameters ?? []).filter((p) => p.in !== "header").map((p) => element("input", { name: p.name, placeholder: p.name }));
  const shown = element("pre", { hidden: true });
  const button = element("button", { textContent: "Send", onclick: async () => {
    let address = path.slice(1);
    const query = new URLSearchParams();
    for (const input of inputs) {
      if (names.includes(input.name)) address = address.replace(`{${input.name}}`, encodeURIComponent(input.value));
      else if (input.value) query.set(input.name, input.value);
    }
    const answer = await fetch(address + (query.size ? `?${query}` : ""));
    const text = await answer.text();
    let told = text;
    try { told = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: shown as it is */ }
    shown.hidden = false;
    shown.textContent = `${answer.status}\n${told.slice(0, 20000)}`;
  } });
  return element("div", { className: "calls" }, element("div", {}, ...inputs, " ", button), shown);
}

for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, call] of Object.entries(methods)) {
    const rows = rowsOf(call).map(([name, type, told, needed]) => element("tr", {}, element("td", {}, element("code", { textContent: name + (needed ? " *" : "") })), element("td", { className: "quiet", textContent: type }), element("td", { textContent: told })));
    const inside = element("div", { className: "inside" }, element("p", { textContent: call.description ?? "" }));
    if (rows.length) inside.append(element("table", {}, element("tbody", {}, ...rows)));
    if (method === "get") inside.append(tryOut(path, call));
    const head = element("summary", {}, element("span", { className: `method ${method}`, textContent: method.toUpperCase() }), element("code", { textContent: path }), element("span", { className: "quiet", textContent: (call.description ?? call.summary ?? "").split(". ")[0] }));
    document.querySelector(".calls").append(element("details", { className: "call" }, head, inside));
  }
}
