// Owns: how a presentation gets into the audio element: hls.js, else the browser's own HLS, else one file, and the way
// back from their errors. Tells its listener which rendition is heard, what goes wrong and when it is over.

const RETRIES = 6; // 1, 2, 4 ... 32 s: a minute of trying, as long as the buffer may last
const MEDIA_RECOVERIES = 3;
const RELOAD_PAUSE_MS = 10_000;

const OPTIONS = {
  // The ESM build brings no worker, and fMP4 goes to the browser as it is: there is no work to move away.
  enableWorker: false,
  // hls.js guesses 500 kb/s and would begin with the highest rung, which a slow link cannot fill.
  startLevel: 0,
  abrEwmaDefaultEstimate: 200_000,
  // A track that is still being made looks like live to hls.js; a listener wants its beginning.
  startPosition: 0,
  backBufferLength: 90,
  // In bytes first: its default of 60 MB is an hour of audio at the rung it began with.
  maxBufferSize: 0,
  maxMaxBufferLength: 120,
};
const BUFFER_S = { ahead: 8, playing: 60 };

let library; // asked for once; null where it is missing or the browser has no Media Source Extensions

/** Fetch hls.js ahead of the first track, so that a tap on play need not wait for it. */
export function prepare() {
  library ??= import("./vendor/hls.min.mjs").then(({ default: Hls }) => (Hls.isSupported() ? Hls : null), () => null);
  return library;
}

/** Whether FLAC in MP4 is heard here, by hls.js or by the browser's own HLS. */
export function canPlayLossless(audio) {
  const type = 'audio/mp4; codecs="flac"';
  const source = globalThis.ManagedMediaSource ?? globalThis.MediaSource;
  return source ? source.isTypeSupported(type) : audio.canPlayType(type) !== "";
}

/** The whole track as one file, for a browser that knows no HLS at all; a signature is not for this path. */
function progressive(url) {
  return url.replace(/^\/hls\/([^/]+)\/.*$/, "/tracks/$1/audio.m4a");
}

export class Stream {
  /** @param listener {rendition({name, bitrate}|null), trouble(sentence|null), failed(sentence, atSeconds)} */
  constructor(audio, listener) {
    this.audio = audio;
    this.listener = listener;
    this.hls = null;
    this.opened = 0;
    this.timer = 0;
    audio.addEventListener("error", () => this.onElementError());
    audio.addEventListener("play", () => this.buffer(BUFFER_S.playing));
    addEventListener("online", () => this.hls && this.retries && this.retry());
  }

  /** Attach the presentation, positioned at `startAt` seconds; resolves when the element has its source. */
  async open(url, startAt = 0) {
    this.close();
    const turn = ++this.opened;
    const Hls = await prepare();
    if (turn !== this.opened) return; // another track was opened meanwhile
    if (url !== this.url) this.renewed = -Infinity;
    this.url = url;
    this.retries = this.recoveries = 0;
    this.listener.rendition(null);
    if (Hls) this.attach(Hls, startAt);
    else if (this.audio.canPlayType("application/vnd.apple.mpegurl")) {
      this.audio.src = startAt ? `${url}#t=${startAt}` : url;
    } else this.audio.src = progressive(url) + (startAt ? `#t=${startAt}` : "");
  }

  close() {
    clearTimeout(this.timer);
    this.opened += 1;
    this.hls?.destroy();
    this.hls = null;
    if (this.audio.hasAttribute("src")) {
      this.audio.removeAttribute("src");
      this.audio.load();
    }
  }

  attach(Hls, startAt) {
    const hls = new Hls({ ...OPTIONS, startPosition: startAt, maxBufferLength: BUFFER_S.ahead });
    this.hls = hls;
    hls.on(Hls.Events.FRAG_CHANGED, (_, { frag }) => {
      const level = hls.levels[frag.level];
      const name = /stream_([^/.]+)\.m3u8/.exec(level?.uri ?? "")?.[1] ?? null;
      if (level) this.listener.rendition({ name, bitrate: level.averageBitrate });
    });
    hls.on(Hls.Events.FRAG_BUFFERED, () => {
      if (this.retries) this.listener.trouble(null);
      this.retries = 0;
    });
    hls.on(Hls.Events.ERROR, (_, data) => data.fatal && this.onFatal(Hls, data));
    hls.loadSource(this.url);
    hls.attachMedia(this.audio);
    if (!this.audio.paused) this.buffer(BUFFER_S.playing);
  }

  /** Little before the first play, so that looking costs no data; plenty from then on. */
  buffer(seconds) {
    if (this.hls) this.hls.config.maxBufferLength = seconds;
  }

  onFatal(Hls, { type, details, response }) {
    const status = response?.code ?? 0;
    if (type === Hls.ErrorTypes.MEDIA_ERROR && this.recoveries < MEDIA_RECOVERIES) {
      this.recoveries += 1;
      this.hls.recoverMediaError();
    } else if (type !== Hls.ErrorTypes.NETWORK_ERROR) {
      this.fail(`The sound could not be decoded (${details}).`);
    } else if (status >= 400 && status < 500 && status !== 429) {
      this.renew(details, status);
    } else if (this.retries < RETRIES) {
      this.listener.trouble("The connection was lost. Trying again…");
      this.timer = setTimeout(() => this.retry(), 1000 * 2 ** this.retries);
      this.retries += 1;
    } else {
      this.fail("The connection was lost. Press play to try again.");
    }
  }

  retry() {
    clearTimeout(this.timer);
    if (this.hls.levels.length) this.hls.startLoad();
    else this.hls.loadSource(this.url);
  }

  /** Signed addresses expire and versions are replaced: a new master has the current ones. */
  renew(details, status) {
    const isMaster = details.startsWith("manifest");
    const now = performance.now();
    if (isMaster || now - this.renewed < RELOAD_PAUSE_MS) {
      this.fail(status === 404 ? "This track is not here any more." : `The server refuses this track (${status}).`);
      return;
    }
    this.renewed = now;
    const wasPlaying = !this.audio.paused;
    this.open(this.url, this.audio.currentTime).then(() => wasPlaying && this.audio.play().catch(() => {}));
  }

  /** The browser's own player has no way back but a new start; hls.js reports element errors itself. */
  onElementError() {
    if (!this.hls && this.audio.hasAttribute("src")) this.fail("The track could not be played.");
  }

  fail(sentence) {
    const at = this.audio.currentTime;
    this.close();
    this.listener.trouble(null);
    this.listener.failed(sentence, at);
  }
}
