// Draws points on a canvas: with WebGL2, or as plain pixels if WebGL2 is unavailable.

const vertex = `#version 300 es
precision highp float;
in float x, y, time;
in uint type, source, topic, fresh, hit, difference;
uniform vec2 center, scale, timeFilter;
uniform float size, emphasis, alpha, timeSpan;
uniform int mode, searching, onlyFresh, highlightPass;
uniform sampler2D palette;
out vec4 colour;
flat out int ring;
void hide() { gl_Position = vec4(2.0, 2.0, 2.0, 1.0); gl_PointSize = 0.0; colour = vec4(0.0); ring = 0; }
void main() {
  vec4 t = texelFetch(palette, ivec2(type, 0), 0), s = texelFetch(palette, ivec2(source, 1), 0);
  vec4 c = texelFetch(palette, ivec2(topic, 2), 0);
  bool shown = t.a > 0.5 && s.a > 0.5 && c.a > 0.5 && (onlyFresh == 0 || fresh == 1u)
    && (timeFilter.y < timeFilter.x || (time >= timeFilter.x && time <= timeFilter.y));
  bool highlighted = searching == 1 ? hit == 1u : fresh == 1u;
  if (!shown || (highlightPass == 1 && !highlighted)) { hide(); return; }
  vec4 w = time < 0.0 ? vec4(0.55, 0.56, 0.59, 1.0) : texelFetch(palette, ivec2(int(255.0 * time / max(timeSpan, 1e-6)), 3), 0);
  vec4 d = difference == 0u ? vec4(0.55, 0.56, 0.59, 0.25) : texelFetch(palette, ivec2(difference, 4), 0);
  vec4 ink = mode == 0 ? t : mode == 1 ? s : mode == 2 ? c : mode == 3 ? w : d;
  float dim = searching == 1 && hit == 0u ? 0.13 : 1.0;
  colour = vec4(ink.rgb, alpha * dim * (mode == 4 ? d.a : 1.0));
  ring = highlightPass;
  gl_PointSize = size + (highlightPass == 1 ? emphasis : 0.0);
  if (highlightPass == 1) colour.a = 1.0;
  gl_Position = vec4((vec2(x, y) - center) * scale, 0.0, 1.0);
}`;
const fragment = `#version 300 es
precision highp float;
in vec4 colour;
flat in int ring;
uniform float size, emphasis;
uniform vec3 accent;
out vec4 result;
void main() {
  vec2 p = gl_PointCoord * 2.0 - 1.0;
  float full = ring == 1 ? size + emphasis : size;
  float d = length(p) * full * 0.5, edge = full * 0.5;
  float cover = clamp(edge - d + 0.5, 0.0, 1.0);
  if (cover <= 0.0) discard;
  vec3 rgb = colour.rgb;
  float line = 0.3 * emphasis + 0.2;
  if (ring == 1) rgb = mix(rgb, accent, clamp(d - (edge - line) + 0.5, 0.0, 1.0));
  result = vec4(rgb, colour.a * cover);
}`;
const floats = ["x", "y", "time"], bytes = ["type", "source", "topic", "fresh", "hit", "difference"];
export const modes = ["type", "source", "topic", "time", "difference"];

export function openDrawer(canvas, wantsPlain) {
  const gl = wantsPlain ? null : canvas.getContext("webgl2", { antialias: false, alpha: false, preserveDrawingBuffer: true, powerPreference: "high-performance" });
  return gl ? new GlDrawer(canvas, gl) : new PlainDrawer(canvas, canvas.getContext("2d"));
}

// Diameter in device pixels, and opacity: smaller and more transparent the more points there are, larger when zoomed in.
export function dotOf(n, view, ratio) {
  const base = Math.max(1.3, Math.min(6.5, 34 / Math.pow(Math.max(n, 1), 0.215)));
  const size = Math.min(15, base * Math.pow(Math.max(view.magnification, 0.3), 0.3));
  const alpha = Math.max(0.12, Math.min(0.9, (14 / Math.pow(Math.max(n, 1), 0.33)) * Math.pow(Math.max(view.magnification, 1), 0.4)));
  return { size: size * ratio, alpha };
}

class GlDrawer {
  constructor(canvas, gl) {
    this.kind = "webgl2";
    this.canvas = canvas;
    this.gl = gl;
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => location.reload());
    this.program = linked(gl);
    this.at = new Proxy({}, { get: (seen, name) => seen[name] ?? (seen[name] = gl.getUniformLocation(this.program, name)) });
    this.palette = gl.createTexture();
    this.buffers = {};
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
  }

  setPoints(points) {
    const gl = this.gl;
    for (const buffer of Object.values(this.buffers)) gl.deleteBuffer(buffer);
    this.buffers = {};
    this.n = points.n;
    for (const name of [...floats, ...bytes]) this.attribute(name, points[name]);
    this.buffers.order = gl.createBuffer();
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.buffers.order);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, shuffled(points.n), gl.STATIC_DRAW);
    this.buffers.highlighted = gl.createBuffer();
    this.nHighlighted = 0;
  }

  // The rows to highlight: search results, or new records.
  setHighlighted(rows) {
    const gl = this.gl;
    this.nHighlighted = rows.length;
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.buffers.highlighted);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, rows, gl.DYNAMIC_DRAW);
  }

  attribute(name, values) {
    const gl = this.gl, index = gl.getAttribLocation(this.program, name);
    this.buffers[name] = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    if (index < 0) return;
    gl.enableVertexAttribArray(index);
    if (floats.includes(name)) gl.vertexAttribPointer(index, 1, gl.FLOAT, false, 0, 0);
    else gl.vertexAttribIPointer(index, 1, gl.UNSIGNED_BYTE, 0, 0);
  }

  setHits(hit) { this.replace("hit", hit); }
  setDifference(codes) { this.replace("difference", codes); }

  replace(name, values) {
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.buffers[name]);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, values, this.gl.DYNAMIC_DRAW);
  }

  setPalette(pixels) {
    const gl = this.gl;
    gl.bindTexture(gl.TEXTURE_2D, this.palette);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 5, 0, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  }

  // Draws points `first` to `first + count` of a fixed random order, then the highlighted ones. `first` 0 clears the canvas.
  draw(view, look, first, count) {
    const { gl, canvas, at } = this, dot = dotOf(this.n, view, look.ratio);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(...look.ground.map((value) => value / 255), 1);
    if (first === 0) gl.clear(gl.COLOR_BUFFER_BIT);
    if (!this.n) return;
    gl.useProgram(this.program);
    gl.uniform2f(at.center, view.x, view.y);
    gl.uniform2f(at.scale, (2 * view.scale) / view.width, (2 * view.scale) / view.height);
    gl.uniform2f(at.timeFilter, ...look.timeFilter);
    gl.uniform1f(at.size, dot.size);
    gl.uniform1f(at.emphasis, look.emphasis * look.ratio);
    gl.uniform1f(at.alpha, dot.alpha);
    gl.uniform1f(at.timeSpan, look.timeSpan);
    gl.uniform1i(at.mode, modes.indexOf(look.mode));
    gl.uniform1i(at.searching, look.searching ? 1 : 0);
    gl.uniform1i(at.onlyFresh, look.onlyFresh ? 1 : 0);
    gl.uniform3f(at.accent, ...look.accent.map((value) => value / 255));
    gl.uniform1i(at.highlightPass, 0);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.buffers.order);
    gl.drawElements(gl.POINTS, Math.max(0, Math.min(this.n - first, count)), gl.UNSIGNED_INT, first * 4);
    if (!this.nHighlighted) return;
    gl.uniform1i(at.highlightPass, 1);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.buffers.highlighted);
    gl.drawElements(gl.POINTS, this.nHighlighted, gl.UNSIGNED_INT, 0);
  }

  // Measures how many points this machine draws in 30 ms.
  pace(view, look) {
    const { gl } = this, trial = Math.min(this.n, 50000), pixel = new Uint8Array(4);
    for (let again = 0; again < 2; again++) { // the first pass also compiles the shaders
      this.began = performance.now();
      this.draw(view, look, 0, trial);
      gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
    }
    return (trial * 30) / Math.max(performance.now() - this.began, 0.5);
  }
}

class PlainDrawer {
  constructor(canvas, context) { this.kind = "canvas2d"; this.canvas = canvas; this.context = context; this.n = 0; this.highlighted = []; }

  setPoints(points) { this.points = points; this.n = points.n; this.order = shuffled(points.n); this.highlighted = []; }
  setHits() {}
  setDifference() {}
  setPalette() {}
  setHighlighted(rows) { this.highlighted = rows; }
  pace() { return 60000; }

  draw(view, look, first, count) {
    const { canvas, points } = this, { width, height } = canvas;
    if (first === 0 || this.image?.width !== width || this.image?.height !== height) {
      this.image = this.context.createImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
      this.pixels.fill(packed(look.ground));
    }
    const side = Math.max(1, Math.round(dotOf(this.n, view, look.ratio).size * 0.85));
    const faint = packed(look.ground.map((value) => Math.round(value * 0.85 + 19)));
    const put = (i, size, ink) => {
      const [px, py] = view.toScreen(points.x[i], points.y[i]);
      square(this.pixels, width, height, px * look.ratio, py * look.ratio, size, ink);
    };
    for (let k = first; k < Math.min(this.n, first + count); k++) {
      const i = this.order[k];
      if (look.shows(i)) put(i, side, look.searching ? faint : packed(look.colourAt(i)));
    }
    for (const i of this.highlighted) {
      if (!look.shows(i)) continue;
      put(i, side + 4, packed(look.accent));
      put(i, side + 1, packed(look.colourAt(i)));
    }
    this.context.putImageData(this.image, 0, 0);
  }
}

const packed = ([r, g, b]) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;

function square(out, width, height, px, py, side, ink) {
  const x0 = Math.round(px - side / 2), y0 = Math.round(py - side / 2);
  for (let y = Math.max(0, y0); y < Math.min(height, y0 + side); y++) {
    for (let x = Math.max(0, x0); x < Math.min(width, x0 + side); x++) out[y * width + x] = ink;
  }
}

// Row numbers in a fixed random order, so that any prefix is a representative sample.
function shuffled(n) {
  const order = new Uint32Array(n);
  for (let i = 0; i < n; i++) order[i] = i;
  let seed = 2463534242;
  for (let i = n - 1; i > 0; i--) {
    seed ^= seed << 13; seed ^= seed >>> 17; seed ^= seed << 5;
    const j = (seed >>> 0) % (i + 1), kept = order[i];
    order[i] = order[j];
    order[j] = kept;
  }
  return order;
}

function linked(gl) {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
  return program;
}
