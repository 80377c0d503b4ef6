// Owns: how a track gets into the audio element over a WebSocket, through Media Source Extensions: what is asked of
// the server (credit, seeks, renditions), what is appended, and the way back after a lost connection.
// The same face as stream.js. The protocol: config/contract/websocket.md.

const RETRIES = 6; // 1, 2, 4 ... 32 s, as stream.js
const BUFFER_S = { ahead: 8, playing: 60, behind: 90 };
const FIRST_CREDIT = 65_536; // two segments at 128 kbit/s, asked for with the first message: a round trip saved
const MAX_CREDIT = 4_194_304;
const SEGMENT_S = 3.84;
const HEADER_BYTES = 16;
const INIT = 1;
const CHANGED = "This track has changed meanwhile. Press play to hear it.";
const FINAL = {
  1008: "The server did not understand this player.",
  4403: "This track may not be heard any more.",
  4404: "This track is not here any more.",
};

// a token that ran out ends the connection, not the listening: a cookie may hold a new one by then
const REFUSED = { 401: "The permission to hear this track has run out.", 403: FINAL[4403], 404: FINAL[4404] };

const Source = globalThis.ManagedMediaSource ?? globalThis.MediaSource;

/** Whether this browser can play so. */
export const supported = () => Boolean(Source && globalThis.WebSocket);

export class SocketStream {
  /** @param listener {rendition({name, bitrate}|null), trouble(sentence|null), failed(sentence, atSeconds)} */
  constructor(audio, listener) {
    this.audio = audio;
    this.listener = listener;
    this.socket = this.source = this.track = null;
    for (const type of ["play", "pause", "timeupdate"]) audio.addEventListener(type, () => this.steer());
    audio.addEventListener("seeking", () => this.onSeeking());
    audio.addEventListener("error", () => this.source && this.fail("The track could not be played."));
    addEventListener("online", () => this.source && !this.socket && this.connect());
  }

  /** Attach the track at `url` (/stream?track_id=…), positioned at `startAt` seconds; resolves when it is attached. */
  async open(url, startAt = 0) {
    this.close();
    if (!supported()) return this.listener.failed("This browser cannot play over a WebSocket.", 0);
    this.url = new URL(url, location.href);
    this.url.protocol = this.url.protocol.replace("http", "ws");
    this.startAt = startAt;
    this.retries = this.asked = 0;
    this.chosen = null;
    this.speed = 0;
    this.listener.rendition(null);
    const source = (this.source = new Source());
    const opened = new Promise((resolve) => source.addEventListener("sourceopen", resolve, { once: true }));
    this.audio.disableRemotePlayback = true; // a managed source is refused without
    this.address = URL.createObjectURL(source);
    this.audio.src = this.address;
    this.connect();
    await Promise.race([opened, new Promise((resolve) => (this.givenUp = resolve))]);
    URL.revokeObjectURL(this.address);
    if (source !== this.source) return;
    if (startAt) this.audio.currentTime = startAt;
    this.pump();
  }

  close() {
    clearTimeout(this.timer);
    this.givenUp?.();
    const wasOpen = this.source;
    this.source = this.sink = this.track = this.mime = null;
    this.queue = [];
    this.disconnect();
    if (wasOpen && this.audio.hasAttribute("src")) {
      this.audio.removeAttribute("src");
      this.audio.load();
    }
  }

  /** Hear this rendition from the next segment on; null: as the connection allows. */
  choose(name) {
    this.chosen = name;
    this.changing = null;
    if (name && name !== this.rendition?.name) this.ask("rendition", { name });
  }

  connect() {
    clearTimeout(this.timer);
    this.disconnect();
    const socket = (this.socket = new WebSocket(this.url));
    socket.binaryType = "arraybuffer";
    let wasOpen = false;
    socket.onopen = () => {
      wasOpen = true;
      this.greet();
    };
    socket.onmessage = ({ data }) => (typeof data === "string" ? this.onMessage(JSON.parse(data)) : this.onFrame(data));
    socket.onclose = ({ code }) => {
      if (socket === this.socket && !wasOpen) this.askWhy();
      this.onClosed(socket, code);
    };
  }

  /** Begin, or go on where the buffer ends. */
  greet() {
    const [, end] = this.buffered();
    const position = this.inside(end || this.startAt);
    const rendition = this.chosen ?? this.rendition?.name ?? null;
    this.granted = FIRST_CREDIT;
    this.flows = true;
    this.awaited = this.changing = null;
    this.arrivedAt = 0;
    this.ask("hello", { version: 1, position, rendition, credit: FIRST_CREDIT });
    this.ask("play");
  }

  /** A refused handshake tells a page nothing; the track itself says whether another try is of any use. */
  async askWhy() {
    const { source, url } = this;
    const query = url.searchParams.has("token") ? `?token=${encodeURIComponent(url.searchParams.get("token"))}` : "";
    const answer = await fetch(`/tracks/${url.searchParams.get("track_id")}${query}`).catch(() => null);
    if (source && source === this.source && answer?.status in REFUSED) this.fail(REFUSED[answer.status]);
  }

  disconnect() {
    const socket = this.socket;
    this.socket = null;
    socket?.close(1000);
  }

  ask(action, data = {}) {
    if (this.socket?.readyState !== WebSocket.OPEN) return null;
    const id = String(++this.asked);
    this.socket.send(JSON.stringify({ type: "control", action, data, request_id: id, timestamp: Date.now() }));
    return id;
  }

  onMessage({ type, action, data, request_id: id }) {
    if (type === "event" && (action === "ready" || action === "updated")) {
      this.track = data;
      this.enqueue(() => this.setDuration(), true);
      this.pump();
    } else if (type === "event" && action === "end") {
      this.enqueue(() => this.source.readyState === "open" && this.source.endOfStream());
      this.pump();
    } else if (id !== null && id === this.awaited) {
      this.awaited = null; // what comes from now on was chosen after the seek
      this.steer();
    } else if (type === "error" && action === "hello") {
      this.fail(CHANGED); // what was heard of it is not there any more: the rendition, or the place
    } else if (type === "error" && action === "close") {
      this.retryAfterMs = 1000 * (data.retry_after ?? 0);
    }
  }

  onFrame(frame) {
    this.granted -= frame.byteLength;
    this.measure(frame.byteLength);
    const head = new DataView(frame, 0, HEADER_BYTES);
    const rendition = this.track.renditions[head.getUint8(2)];
    const bytes = new Uint8Array(frame, HEADER_BYTES);
    if (head.getUint8(1) === INIT) {
      this.rendition = rendition;
      // kept also where a seek is on its way: it is not sent again for the segments that follow the seek
      this.enqueue(() => this.begin(rendition, bytes), true);
    } else if (this.awaited) return;
    else this.enqueue(() => this.sink.appendBuffer(bytes));
    if (this.retries) this.listener.trouble(null);
    this.retries = 0;
    this.pump();
  }

  /** To be done when the buffer is free; what is `kept` a seek does not make stale. */
  enqueue(step, kept = false) {
    this.queue.push({ step, kept });
  }

  /** Do what is queued, one thing after the other: a buffer takes nothing while it is at work. */
  pump() {
    while (this.queue.length && this.source?.readyState !== "closed" && this.source && !this.sink?.updating) {
      try {
        this.queue.shift().step();
      } catch (error) {
        return this.fail(`The sound could not be taken (${error.name}).`);
      }
    }
    if (!this.queue.length) this.steer();
  }

  begin(rendition, bytes) {
    if (!this.sink) {
      this.sink = this.source.addSourceBuffer(rendition.mime);
      this.sink.addEventListener("updateend", () => this.pump());
      this.setDuration();
    } else if (rendition.mime !== this.mime) this.sink.changeType(rendition.mime);
    this.mime = rendition.mime;
    this.sink.appendBuffer(bytes);
    this.listener.rendition({ name: rendition.name, bitrate: rendition.bitrate });
  }

  /** The server counted the samples. What an encoder put before the first and behind the last is cut off. */
  setDuration() {
    const { complete, duration } = this.track;
    if (!complete || !this.sink || this.source.readyState !== "open") return;
    this.sink.appendWindowEnd = duration;
    if (this.source.duration !== duration) this.source.duration = duration;
  }

  /** The one range there is, as seconds; a seek out of it empties it. */
  buffered() {
    const ranges = this.sink?.buffered;
    return ranges?.length ? [ranges.start(0), ranges.end(ranges.length - 1)] : [0, 0];
  }

  /** Keep as much ahead as is wanted: credit for what is missing, and a pause while nothing is. */
  steer() {
    if (!this.track || this.awaited || !this.source) return;
    const position = this.audio.currentTime;
    const [start, end] = this.buffered();
    const ahead = Math.max(0, end - position);
    const target = this.audio.paused ? BUFFER_S.ahead : BUFFER_S.playing;
    const wanted = !this.audio.paused || ahead < BUFFER_S.ahead;
    if (wanted !== this.flows) this.ask((this.flows = wanted) ? "play" : "pause", { position: this.inside(position) });
    this.adapt(ahead);
    if (this.queue.length || this.sink?.updating) return; // what waits there is not counted as ahead
    const bytesPerSecond = (this.rendition ?? this.track.renditions[0]).bitrate / 8;
    const missing = Math.min(MAX_CREDIT, Math.ceil((target - ahead) * bytesPerSecond - this.granted));
    // a lossless segment may be larger than all that can be granted at once; what it is over becomes a debt
    if (missing >= Math.min(MAX_CREDIT, SEGMENT_S * bytesPerSecond) && this.ask("credit", { bytes: missing, position: this.inside(position) })) {
      this.granted += missing;
    }
    if (position - start > 2 * BUFFER_S.behind) this.sink.remove(0, position - BUFFER_S.behind);
  }

  inside(seconds) {
    return this.track ? Math.min(seconds, this.track.duration) : seconds;
  }

  /** How fast bytes come: only between frames that the server sent without waiting for credit. */
  measure(bytes) {
    const now = performance.now();
    if (this.arrivedAt) {
      const speed = (8000 * bytes) / Math.max(1, now - this.arrivedAt);
      this.speed = this.speed ? 0.7 * this.speed + 0.3 * speed : speed;
    }
    this.arrivedAt = this.granted > 0 && this.flows ? now : 0;
  }

  /** The best rendition of this codec that comes in half its time; a worse one before the buffer is empty. */
  adapt(ahead) {
    if (this.chosen || !this.rendition || !this.speed || (ahead < BUFFER_S.ahead && this.speed > this.rendition.bitrate)) return;
    const rungs = this.track.renditions.filter(({ playable, codec }) => playable && codec === this.rendition.codec);
    rungs.sort((one, other) => one.bitrate - other.bitrate);
    const best = rungs.filter(({ bitrate }) => 2 * bitrate <= this.speed).at(-1) ?? rungs[0];
    if (best.name === this.rendition.name || best.name === this.changing) return;
    this.changing = best.name;
    this.ask("rendition", { name: best.name });
  }

  onSeeking() {
    if (!this.track) return;
    const to = this.audio.currentTime;
    const [start, end] = this.buffered();
    if (to >= start && to < end) return this.steer();
    if (!end && to === this.startAt && !this.awaited) return; // where it begins
    this.startAt = to;
    this.queue = [{ step: () => this.sink?.remove(0, Infinity) }, ...this.queue.filter(({ kept }) => kept)];
    if (!this.socket) this.connect();
    this.awaited = this.ask("seek", { position: this.inside(to) });
    if (!this.flows && this.ask("play")) this.flows = true;
    this.pump();
  }

  onClosed(socket, code) {
    if (socket !== this.socket) return; // we left
    this.socket = null;
    if (code in FINAL) return this.fail(FINAL[code]);
    if (this.source.readyState === "ended") return; // everything is here; a seek asks again
    if (this.retries >= RETRIES) return this.fail("The connection was lost. Press play to try again.");
    this.listener.trouble("The connection was lost. Trying again…");
    const pauseMs = Math.max(this.retryAfterMs ?? 0, 500 * 2 ** this.retries * (1 + Math.random()));
    this.timer = setTimeout(() => this.connect(), pauseMs);
    this.retries += 1;
  }

  fail(sentence) {
    const at = this.audio.currentTime;
    this.close();
    this.listener.trouble(null);
    this.listener.failed(sentence, at);
  }
}
