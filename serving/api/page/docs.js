// The bundled Swagger UI reads OpenAPI 3.0; the description is 3.1. All it uses of 3.1 that 3.0 writes
// otherwise is "or null", which is rewritten here for display. /openapi.json itself stays as it is.

function older(node) {
  if (Array.isArray(node)) return node.map(older);
  if (node === null || typeof node !== "object") return node;
  const { anyOf, ...rest } = node;
  const copy = Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, older(value)]));
  if (anyOf === undefined) return copy;
  const real = anyOf.filter((option) => option.type !== "null").map(older);
  if (real.length === anyOf.length) return { ...copy, anyOf: real };
  if (real.length === 1 && !real[0].$ref) return { ...real[0], ...copy, nullable: true };
  return { ...copy, allOf: real, nullable: true };
}

const described = await (await fetch("/openapi.json")).json();
window.SwaggerUIBundle({ spec: { ...older(described), openapi: "3.0.3" }, dom_id: "#docs", deepLinking: true });
