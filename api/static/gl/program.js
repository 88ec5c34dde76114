// A WebGL2 program and the buffers that it reads.

/** @typedef {{program: WebGLProgram, at: (name: string) => WebGLUniformLocation | null}} Program */

/**
 * @param {WebGL2RenderingContext} gl
 * @param {string} vertex
 * @param {string} fragment
 * @param {readonly string[]} attributes in the order of their locations
 * @returns {Program}
 */
export function compile(gl, vertex, fragment, attributes) {
  const program = gl.createProgram();
  for (const [kind, source] of /** @type {const} */ ([[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]])) {
    const shader = /** @type {WebGLShader} */ (gl.createShader(kind));
    gl.shaderSource(shader, `#version 300 es\nprecision highp float;\n${source}`);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) throw new Error(gl.getShaderInfoLog(shader) ?? "shader");
  }
  attributes.forEach((name, i) => gl.bindAttribLocation(program, i, name));
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) throw new Error(gl.getProgramInfoLog(program) ?? "program");
  /** @type {Map<string, WebGLUniformLocation | null>} */
  const places = new Map();
  const at = (/** @type {string} */ name) => {
    if (!places.has(name)) places.set(name, gl.getUniformLocation(program, name));
    return places.get(name) ?? null;
  };
  return { program, at };
}

/**
 * Fills a buffer, or replaces what it has.
 * @param {WebGL2RenderingContext} gl
 * @param {WebGLBuffer} buffer
 * @param {AllowSharedBufferSource} data
 * @param {GLenum} [target]
 */
export function fill(gl, buffer, data, target = gl.ARRAY_BUFFER) {
  gl.bindBuffer(target, buffer);
  gl.bufferData(target, data, gl.DYNAMIC_DRAW);
}

/**
 * Makes attribute `place` of the current vertex array read a buffer.
 * @param {WebGL2RenderingContext} gl
 * @param {number} place
 * @param {WebGLBuffer} buffer
 * @param {number} parts
 * @param {GLenum} type
 */
export function read(gl, place, buffer, parts, type) {
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  gl.enableVertexAttribArray(place);
  gl.vertexAttribPointer(place, parts, type, type !== gl.FLOAT, 0, 0);
}
