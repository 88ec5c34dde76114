// The shaders of the ground. Heights, normals and colours come from JavaScript; here they are lit and lined.

export const ground = {
  vertex: `
in vec2 place; in float height; in vec4 face; in vec4 colour;
uniform mat4 view; uniform vec3 light; uniform vec4 ring; uniform float ambient, glow;
out vec3 lit; out vec2 where;
void main() {
  gl_Position = view * vec4(place.x, height, place.y, 1.0);
  vec3 normal = normalize(face.xyz);
  float turned = max(0.0, dot(normal, light)), sun = min(turned, light.y + 0.3 * (turned - light.y));
  float sky = 0.5 + 0.5 * normal.y, open = face.w;
  lit = colour.rgb * (ambient * sky * (0.35 + 0.65 * open) + (1.0 - ambient) * 1.18 * sun * (0.6 + 0.4 * open)) + glow * colour.rgb * height;
  where = vec2(height, length(place - ring.xy) / max(ring.z, 1e-4));
}`,
  fragment: `
in vec3 lit; in vec2 where;
uniform vec4 ring; uniform vec3 ink, accent; uniform float interval, contour, pixel; // pixel: how many of the canvas make one of the page
out vec4 result;
void main() {
  vec3 rgb = lit;
  float level = where.x / interval, wide = fwidth(level);
  float line = 1.0 - smoothstep(0.4 * pixel, 0.4 * pixel + 0.9, abs(fract(level - 0.5) - 0.5) / max(wide, 1e-5));
  float fifth = 1.0 - smoothstep(0.7 * pixel, 0.7 * pixel + 1.0, abs(fract(level / 5.0 - 0.5) - 0.5) * 5.0 / max(wide, 1e-5));
  float dense = 1.0 - smoothstep(0.25, 0.6, wide), above = smoothstep(0.2, 0.6, level);
  rgb = mix(rgb, ink, contour * above * dense * max(0.55 * line, fifth * step(2.0, level)));
  float far = abs(where.y - 1.55) / max(fwidth(where.y), 1e-5);
  rgb = mix(rgb, accent, ring.w * (1.0 - smoothstep(0.8 * pixel, 0.8 * pixel + 1.1, far)));
  result = vec4(rgb, 1.0);
}`,
};

/** The cut sides of the block that the ground lies on. */
export const side = {
  vertex: `
in vec3 place; in vec3 normal;
uniform mat4 view; uniform vec3 light, colour;
out vec3 lit;
void main() {
  gl_Position = view * vec4(place, 1.0);
  lit = colour * (0.72 + 0.36 * max(0.0, dot(normal, light)));
}`,
  fragment: `
in vec3 lit; out vec4 result;
void main() { result = vec4(lit, 1.0); }`,
};

/** The soft shadow below the block. */
export const shadow = {
  vertex: `
in vec2 place; uniform mat4 view; uniform float below; out vec2 at;
void main() { at = place * 1.5; gl_Position = view * vec4(at.x, below, at.y, 1.0); }`,
  fragment: `
in vec2 at; uniform vec4 colour; out vec4 result;
void main() {
  vec2 out2 = max(abs(at) - 0.94, 0.0);
  float strength = smoothstep(0.42, 0.0, length(out2));
  result = vec4(colour.rgb, colour.a * strength * strength);
}`,
};
