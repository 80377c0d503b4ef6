// Owns: how a track gets into the audio element over WebRTC: the session at the server (WHEP), its end, and the way
// back after a lost connection. The same face as stream.js, with `seek` and `position` beside it: a session is in
// real time and knows no way back, so that a seek, and play after a pause, is a new one that begins elsewhere.

const RETRIES = 6; // 1, 2, 4 ... 32 s, as stream.js
const ANSWER_MS = 10_000;
const CONNECT_MS = 12_000; // the server gives up after 10 s
const SILENT_MS = 5_000; // Chromium notices neither the server's goodbye nor, for as long, its absence
const LOOK_MS = 250;
const FIND_MS = 20; // a packet
const LAST_PACKET_S = 0.03;
const AT_THE_END_S = 1.5; // silence so near to the end is the end: the last packets may be lost
const RTP_HZ = 48_000; // RFC 7587 4.1
const SDP = "application/sdp";
const RENDITION = "opus-128";

/** Whether this browser can play so. */
export const supported = () => Boolean(globalThis.RTCPeerConnection);

/** Opus is decoded in one channel unless the receiver asks for two (RFC 7587 7.1), which Chromium does not. */
export function inStereo(sdp) {
  const [, type] = /^a=rtpmap:(\d+) opus\/48000\/2/im.exec(sdp) ?? [];
  return sdp.replace(new RegExp(`^(a=fmtp:${type} )(?!.*\\bstereo=)`, "m"), "$1stereo=1;");
}

/** The ICE servers that the answer's Link field names (RFC 9725 4.6). */
export function iceServers(link) {
  return [...(link ?? "").matchAll(/<((?:stun|turn)s?:[^>]+)>((?:\s*;\s*[\w-]+="[^"]*")*)/g)].map(([, urls, rest]) => {
    const said = Object.fromEntries([...rest.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, name, value]) => [name, value]));
    return said.credential ? { urls, username: said.username, credential: said.credential } : { urls };
  });
}

/** Tell the server, which by itself would notice half a minute later. */
function end(session) {
  return fetch(session, { method: "DELETE", keepalive: true, signal: AbortSignal.timeout(ANSWER_MS) }).catch(() => {});
}

export class WhepStream {
  /** @param listener {rendition({name, bitrate}|null), trouble(sentence|null), failed(sentence, atSeconds)} */
  constructor(audio, listener) {
    this.audio = audio;
    this.listener = listener;
    this.url = this.connection = null;
    this.turn = 0;
    audio.addEventListener("play", () => this.url && !this.connection && !this.isWaiting && this.connect());
    audio.addEventListener("pause", () => this.connection && this.hold());
    addEventListener("online", () => this.isWaiting && this.goOn());
    addEventListener("pagehide", () => this.leave());
  }

  /** Make the track at `url` (/whep/…) the one to hear, from `startAt` seconds on; it begins when the element plays. */
  async open(url, startAt = 0) {
    this.close();
    if (!supported()) return this.listener.failed("This browser cannot play over WebRTC.", 0);
    this.url = url;
    this.startAt = startAt;
    this.retries = 0;
    this.isOver = false;
    this.listener.rendition(null);
    this.renew();
  }

  close() {
    const wasOpen = this.url;
    this.url = null;
    this.leave();
    if (wasOpen) this.audio.srcObject = null;
  }

  seek(seconds) {
    this.leave();
    this.startAt = seconds;
    this.isOver = false;
    this.renew();
    this.audio.dispatchEvent(new Event("seeked"));
  }

  /** Seconds into the track of what is heard now. */
  get position() {
    const played = this.receiver?.getSynchronizationSources()[0];
    if (!played || this.firstRtp === null) return this.startAt ?? 0;
    return this.startAt + ((played.rtpTimestamp - this.firstRtp) >>> 0) / RTP_HZ;
  }

  /** A new session from `startAt` on, at once if the element is meant to play. */
  renew() {
    const isPlaying = this.attach(new MediaStream()); // empty: the end of the session before is not the element's
    if (isPlaying) this.connect();
  }

  /** Give the element another stream without changing whether it plays; says whether it does. */
  attach(stream) {
    const isPlaying = !this.audio.paused;
    this.audio.srcObject = stream;
    if (isPlaying) this.audio.play().catch(() => {}); // AbortError: the next stream came before this one's sound
    return isPlaying;
  }

  hold() {
    this.startAt = this.position;
    this.leave();
    this.renew();
  }

  /** End the session, if there is one, here and at the server. */
  leave() {
    clearTimeout(this.timer);
    clearInterval(this.look);
    this.turn += 1;
    const { connection, session } = this;
    this.connection = this.receiver = this.session = this.firstRtp = null;
    this.isWaiting = false;
    if (session) end(session).finally(() => connection.close()); // in this order: closed, it would be unknown
    else connection?.close();
  }

  async connect() {
    this.leave();
    if (this.isOver) this.startAt = 0;
    this.isOver = false;
    const turn = this.turn;
    const connection = (this.connection = new RTCPeerConnection());
    const { receiver } = connection.addTransceiver("audio", { direction: "recvonly" });
    receiver.track.addEventListener("unmute", () => turn === this.turn && !this.receiver && this.onSound(receiver));
    connection.addEventListener("connectionstatechange", () => turn === this.turn && this.onState(connection));
    this.timer = setTimeout(() => this.retry(), CONNECT_MS);
    try {
      await this.agree(connection, turn);
    } catch (refusal) {
      if (turn === this.turn) this.onRefusal(refusal);
    }
  }

  /** Offer and answer. The offer is sent before it takes effect: by then the server's ICE servers are known. */
  async agree(connection, turn) {
    const offer = await connection.createOffer();
    const sdp = inStereo(offer.sdp);
    const url = new URL(this.url, location.href);
    if (this.startAt) url.searchParams.set("position", this.startAt.toFixed(3));
    const signal = AbortSignal.timeout(ANSWER_MS);
    const response = await fetch(url, { method: "POST", headers: { "Content-Type": SDP }, body: sdp, signal });
    if (!response.ok) throw response;
    const session = new URL(response.headers.get("Location"), url);
    if (turn !== this.turn) return void end(session);
    this.session = session;
    const answer = await response.text();
    this.bitrate = Number(/maxaveragebitrate=(\d+)/.exec(answer)?.[1] ?? 0);
    this.endsAt = Number(/^a=range:npt=[\d.]+-([\d.]+)/m.exec(answer)?.[1] ?? Infinity);
    connection.setConfiguration({ iceServers: iceServers(response.headers.get("Link")) });
    await connection.setLocalDescription({ type: "offer", sdp });
    await connection.setRemoteDescription({ type: "answer", sdp: answer });
  }

  /** The first packet has come. */
  onSound(receiver) {
    clearTimeout(this.timer);
    this.receiver = receiver;
    this.attach(new MediaStream([receiver.track]));
    this.heard = { position: this.startAt, at: performance.now() };
    this.look = setInterval(() => this.watch(), LOOK_MS);
    this.find(receiver);
    if (this.retries) this.listener.trouble(null);
    this.retries = 0;
    this.listener.rendition({ name: RENDITION, bitrate: this.bitrate });
  }

  /** The clock of the packets at the first one that is played: what `position` counts from. */
  find(receiver) {
    if (receiver !== this.receiver || this.firstRtp !== null) return;
    this.firstRtp = receiver.getSynchronizationSources()[0]?.rtpTimestamp ?? null;
    setTimeout(() => this.find(receiver), FIND_MS);
  }

  /** Whether anything is still coming. */
  watch() {
    const { position } = this;
    const now = performance.now();
    if (position > this.heard.position) this.heard = { position, at: now };
    const silent_ms = now - this.heard.at;
    if (position >= this.endsAt - LAST_PACKET_S) this.finish();
    else if (position >= this.endsAt - AT_THE_END_S && silent_ms > 1000 * AT_THE_END_S) this.finish();
    else if (silent_ms > SILENT_MS) this.retry();
  }

  /** The end of the track. Browsers do not agree on whether that of a stream is the element's too. */
  finish() {
    this.startAt = this.position;
    this.isOver = true;
    this.session = null; // the server ends it
    this.audio.pause();
    this.audio.srcObject = new MediaStream();
    this.leave();
    this.audio.dispatchEvent(new Event("ended"));
  }

  onState({ connectionState }) {
    if (connectionState === "failed" || connectionState === "closed") this.retry();
  }

  onRefusal(refusal) {
    const { status, name } = refusal;
    if (status === 404) this.fail("This track is not here any more.");
    else if (status >= 400 && status < 500 && status !== 429) this.fail(`The server refuses this track (${status}).`);
    else if (status || name === "TypeError" || name === "TimeoutError") this.retry();
    else this.fail(`This browser refused the connection (${name}).`);
  }

  /** Go on from here with a new session, after a pause that doubles. */
  retry() {
    this.startAt = this.position;
    this.leave();
    if (this.retries >= RETRIES) return this.fail("The connection was lost. Press play to try again.");
    this.isWaiting = true;
    this.attach(new MediaStream());
    this.listener.trouble("The connection was lost. Trying again…");
    this.timer = setTimeout(() => this.goOn(), 1000 * 2 ** this.retries);
    this.retries += 1;
  }

  goOn() {
    clearTimeout(this.timer);
    this.isWaiting = false;
    if (!this.audio.paused) this.connect();
  }

  fail(sentence) {
    const at = this.position;
    this.close();
    this.listener.trouble(null);
    this.listener.failed(sentence, at);
  }
}
