// Owns: the picture of a track and its hue: the cover where there is one, else a pattern drawn from its id,
// the same in every place and on every visit.

const SVG = "http://www.w3.org/2000/svg";
const GRID = 3;
const GREY_CHROMA = 0.03;
const GOLDEN_ANGLE = 137.508; // neighbours in a list get hues far apart

/** 32 bits out of a text (FNV-1a). */
function digest(text) {
  let hash = 0x811c9dc5;
  for (const character of text) hash = Math.imul(hash ^ character.codePointAt(0), 0x01000193);
  return hash >>> 0;
}

/** Bits in an order of their own for each seed (xorshift). */
function* bits(seed) {
  let state = seed || 1;
  for (;;) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    yield state >>> 0;
  }
}

/** Degrees, 0 to 360. */
export function hueOf(trackId) {
  return Math.round((digest(trackId) * GOLDEN_ANGLE) % 360);
}

function draw(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function pattern(trackId) {
  const hue = hueOf(trackId);
  const tones = [
    `oklch(0.32 0.07 ${hue})`,
    `oklch(0.55 0.15 ${hue})`,
    `oklch(0.74 0.14 ${hue})`,
    `oklch(0.8 0.13 ${(hue + 50) % 360})`,
    `oklch(0.92 0.04 ${hue})`,
  ];
  const picture = draw("svg", { viewBox: `0 0 ${GRID * 10} ${GRID * 10}`, preserveAspectRatio: "xMidYMid slice" });
  const random = bits(digest(trackId));
  for (let tile = 0; tile < GRID * GRID; tile += 1) {
    const number = random.next().value;
    const [back, front] = [number % tones.length, (number + 1 + ((number >>> 4) % (tones.length - 1))) % tones.length];
    const [x, y] = [(tile % GRID) * 10, Math.floor(tile / GRID) * 10];
    picture.append(draw("rect", { x, y, width: 10.1, height: 10.1, fill: tones[back], "shape-rendering": "crispEdges" }));
    const turned = { transform: `rotate(${((number >>> 8) % 4) * 90} ${x + 5} ${y + 5})`, fill: tones[front] };
    const shape = (number >>> 12) % 4;
    if (shape === 0) picture.append(draw("circle", { cx: x + 5, cy: y + 5, r: 3, ...turned }));
    else if (shape === 1) picture.append(draw("path", { d: `M${x} ${y + 5}a5 5 0 0 1 10 0z`, ...turned }));
    else picture.append(draw("path", { d: `M${x} ${y}h10a10 10 0 0 1-10 10z`, ...turned }));
  }
  return picture;
}

/** Put a track's picture into a frame. Calls `onHue` with the degrees that suit it, at once and when the cover is in. */
export function frame(element, track, onHue = () => {}) {
  element.dataset.track = track.track_id;
  element.replaceChildren(pattern(track.track_id));
  onHue(hueOf(track.track_id));
  if (!track.cover_url) return;
  const cover = new Image();
  cover.alt = "";
  cover.decoding = "async";
  cover.addEventListener("load", () => {
    if (element.dataset.track !== track.track_id) return; // the frame shows another track by now
    element.replaceChildren(cover);
    const hue = dominantHue(cover);
    if (hue !== null) onHue(hue);
  });
  cover.src = track.cover_url; // one that does not load leaves the pattern
}

/** The mean hue of a cover's colourful pixels, in degrees; null for a grey one or one of another origin. */
function dominantHue(image) {
  const size = 24;
  const pen = new OffscreenCanvas(size, size).getContext("2d", { willReadFrequently: true });
  pen.drawImage(image, 0, 0, size, size);
  let pixels;
  try {
    pixels = pen.getImageData(0, 0, size, size).data;
  } catch {
    return null;
  }
  let [x, y, weight] = [0, 0, 0];
  for (let i = 0; i < pixels.length; i += 4) {
    const [a, b] = oklab(pixels.subarray(i, i + 3));
    const chroma = Math.hypot(a, b);
    x += a * chroma;
    y += b * chroma;
    weight += chroma;
  }
  const meanChroma = Math.hypot(x, y) / (weight || 1);
  return meanChroma < GREY_CHROMA ? null : Math.round((Math.atan2(y, x) * 180) / Math.PI + 360) % 360;
}

/** The two colour axes of Oklab (B. Ottosson, 2020), in which the style sheets' oklch() measures hue too. */
function oklab(srgb) {
  const [red, green, blue] = Array.from(srgb, (value) => (value / 255) ** 2.2);
  const long = Math.cbrt(0.4122 * red + 0.5363 * green + 0.0514 * blue);
  const medium = Math.cbrt(0.2119 * red + 0.6807 * green + 0.1074 * blue);
  const short = Math.cbrt(0.0883 * red + 0.2817 * green + 0.63 * blue);
  return [1.978 * long - 2.4286 * medium + 0.4506 * short, 0.0259 * long + 0.7828 * medium - 0.8087 * short];
}
