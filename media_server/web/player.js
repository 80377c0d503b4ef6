// Owns: the audio element and what is loaded into it. Speaks in events: "state" (playing, waiting, stopped),
// "time", "rendition", "trouble", "failed", "ended", "way" ({way, state}: off, connecting, ready, playing, failed).
// Position and duration are seconds.

import { Ways } from "./ways.js";

export class Player extends EventTarget {
  constructor(audio) {
    super();
    this.audio = audio;
    this.track = null;
    this.ways = new Ways(audio, {
      rendition: (detail) => this.emit("rendition", detail),
      trouble: (detail) => {
        this.tell(detail ? "connecting" : "ready");
        this.emit("trouble", detail);
      },
      failed: (sentence, at) => {
        this.isOpen = false;
        this.stoppedAt = at;
        this.tell("failed");
        this.emit("failed", sentence);
      },
    });
    audio.addEventListener("playing", () => this.tell("playing"));
    audio.addEventListener("pause", () => this.isOpen && this.tell("ready"));
    for (const type of ["play", "playing", "pause", "waiting", "canplay", "ended"]) {
      audio.addEventListener(type, () => this.emit("state"));
    }
    for (const type of ["timeupdate", "seeking", "seeked", "durationchange"]) {
      audio.addEventListener(type, () => this.emit("time"));
    }
    audio.addEventListener("playing", () => this.followFrames());
    audio.addEventListener("ended", () => this.emit("ended"));
  }

  get playing() {
    return !this.audio.paused && !this.audio.ended;
  }

  /** Meant to play, but nothing is heard yet. */
  get waiting() {
    return this.playing && this.audio.readyState < HTMLMediaElement.HAVE_FUTURE_DATA;
  }

  /** A way that plays from the middle on counts from there; it knows the place in the track. */
  get position() {
    return Math.min(this.ways.chosen.position ?? this.audio.currentTime, this.duration || Infinity);
  }

  get way() {
    return this.ways.name;
  }

  /** The server counted the samples; the element only knows what it has seen so far. */
  get duration() {
    const seen = this.audio.duration;
    return this.track?.duration_seconds || (Number.isFinite(seen) ? seen : 0);
  }

  /** Make this track the one to hear, from its beginning. */
  async load(track, { play = false } = {}) {
    this.audio.pause();
    this.track = track;
    this.isOpen = true;
    const opened = this.open();
    this.emit("state");
    this.emit("time");
    await opened;
    if (play && this.track === track) await this.play();
  }

  /** Hear what is heard over another transport, from the same place on. */
  async use(way) {
    const { track: before, position } = this;
    this.isMeant = this.playing; // and what is pressed from now on, while the way is loaded, is meant for it
    await this.ways.choose(way);
    if (way !== this.way) return; // another one was chosen meanwhile
    this.emit("rendition", null);
    this.emit("trouble", null);
    const { track } = this;
    if (!track) return this.tell("off");
    this.isOpen = true;
    // a track that was chosen meanwhile went to the way that is closed now
    await this.open(track === before ? position : 0);
    if (this.isMeant && this.track === track && way === this.way) await this.play();
  }

  /** Hear the source as it is where there is such a rendition, from the same place on; false: what the network carries. */
  preferLossless(isPreferred) {
    this.ways.lossless = isPreferred;
    return this.use(this.way);
  }

  async open(startAt = 0) {
    const { track, way } = this;
    this.tell("connecting");
    await this.ways.chosen.open(this.ways.address(track), startAt);
    if (this.isOpen && track === this.track && way === this.way) this.tell(this.playing && !this.waiting ? "playing" : "ready");
  }

  async play() {
    if (!this.track) return;
    this.isMeant = true;
    if (!this.isOpen) {
      this.isOpen = true;
      this.emit("trouble", null);
      await this.open(this.stoppedAt);
    }
    try {
      await this.audio.play();
    } catch (refusal) {
      // AbortError: another track came first. NotAllowedError: the browser wants a tap; the button waits for it.
      if (!["AbortError", "NotAllowedError"].includes(refusal.name)) this.emit("failed", "The track could not be played.");
    }
  }

  pause() {
    this.isMeant = false;
    this.audio.pause();
  }

  toggle() {
    return this.playing ? this.pause() : this.play();
  }

  seek(seconds) {
    if (!this.track) return;
    if (this.ways.chosen.seek) return this.ways.chosen.seek(Math.max(0, Math.min(seconds, this.duration)));
    const { seekable } = this.audio;
    // A growing track ends, for now, where its playlist does.
    const end = seekable.length ? seekable.end(seekable.length - 1) : this.duration;
    this.audio.currentTime = Math.max(0, Math.min(seconds, end));
    this.emit("time");
  }

  /** timeupdate comes four times a second; a moving edge wants every frame. */
  followFrames() {
    cancelAnimationFrame(this.frame);
    const step = () => {
      this.emit("time");
      if (this.playing) this.frame = requestAnimationFrame(step);
    };
    this.frame = requestAnimationFrame(step);
  }

  tell(state) {
    this.emit("way", { way: this.way, state });
  }

  emit(type, detail = null) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
