// A filled band between two lines, as a primitive of a lightweight-charts series.

export class Band {
  #points = [];
  #colour;
  #chart;
  #series;
  #redraw = () => {};

  constructor(colour) {
    this.#colour = colour;
  }

  attached({ chart, series, requestUpdate }) {
    this.#chart = chart;
    this.#series = series;
    this.#redraw = requestUpdate;
  }

  /** Points of `{time, low, high}`, in time order; each time must be one of the series'. */
  setData(points) {
    this.#points = points;
    this.#redraw();
  }

  setColour(colour) {
    this.#colour = colour;
    this.#redraw();
  }

  autoscaleInfo() {
    if (this.#points.length === 0) return null;
    const low = Math.min(...this.#points.map((p) => p.low));
    const high = Math.max(...this.#points.map((p) => p.high));
    return { priceRange: { minValue: low, maxValue: high } };
  }

  paneViews() {
    return [{ zOrder: () => "bottom", renderer: () => ({ draw: (target) => this.#draw(target) }) }];
  }

  #draw(target) {
    const scale = this.#chart.timeScale();
    const corners = this.#points
      .map(({ time, low, high }) => ({
        x: scale.timeToCoordinate(time),
        low: this.#series.priceToCoordinate(low),
        high: this.#series.priceToCoordinate(high),
      }))
      .filter(({ x, low, high }) => x !== null && low !== null && high !== null);
    if (corners.length < 2) return;
    target.useBitmapCoordinateSpace(({ context, horizontalPixelRatio: rx, verticalPixelRatio: ry }) => {
      context.beginPath();
      for (const { x, high } of corners) context.lineTo(x * rx, high * ry);
      for (const { x, low } of corners.toReversed()) context.lineTo(x * rx, low * ry);
      context.closePath();
      context.fillStyle = this.#colour;
      context.fill();
    });
  }
}
