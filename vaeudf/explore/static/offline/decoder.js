/**
 * What a decoder gives, by a fit of it: z → cosines → principal components of pictures → levels
 * (random Fourier features, after Rahimi and Recht, 2007; made by vaeudf/explore/fitted_decoder.py).
 */

export class FittedDecoder {
  /** @param {object} fit the arrays, decoded, and height, width, channels */
  constructor(fit) {
    Object.assign(this, fit);
    this.n = this.frequencies.length / this.phases.length;
    this.numComponents = this.scales.length;
    this.levels = new Float32Array(this.mean.length);
  }

  #components(z) {
    const features = [...this.phases].map((phase, f) => {
      let angle = phase;
      for (let i = 0; i < this.n; i++) angle += this.frequencies[f * this.n + i] * z[i];
      return Math.cos(angle);
    });
    features.push(1, ...z);
    const found = new Float64Array(this.numComponents);
    for (let f = 0; f < features.length; f++)
      for (let c = 0; c < this.numComponents; c++) found[c] += features[f] * this.weights[f * this.numComponents + c];
    return found;
  }

  /** Draw pictures side by side on a canvas. */
  draw(rows) {
    const { height, width, channels } = this;
    const canvas = Object.assign(document.createElement("canvas"), { height, width: width * rows.length });
    const context = canvas.getContext("2d");
    rows.forEach((z, place) => context.putImageData(this.#picture(z, channels), place * width, 0));
    return canvas;
  }

  #picture(z, channels) {
    const { levels, axes, scales } = this;
    levels.set(this.mean);
    this.#components(z).forEach((value, c) => {
      const factor = value * scales[c];
      const start = c * levels.length;
      for (let i = 0; i < levels.length; i++) levels[i] += factor * axes[start + i];
    });
    const image = new ImageData(this.width, this.height);
    for (let pixel = 0; pixel < this.width * this.height; pixel++) {
      for (let c = 0; c < 3; c++) image.data[4 * pixel + c] = 255 * levels[channels * pixel + (channels === 3 ? c : 0)];
      image.data[4 * pixel + 3] = 255;
    }
    return image;
  }
}
