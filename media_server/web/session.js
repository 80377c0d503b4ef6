// Owns: what the operating system shows and does: lock screen, media keys, headphones (Media Session API).

const SEEK_S = 10;

export class Session {
  /** @param onSkip called with -1 or +1 for the previous or the next track */
  constructor(player, onSkip) {
    this.player = player;
    this.session = navigator.mediaSession ?? null;
    if (!this.session) return;
    const actions = {
      play: () => player.play(),
      pause: () => player.pause(),
      previoustrack: () => onSkip(-1),
      nexttrack: () => onSkip(1),
      seekto: ({ seekTime }) => player.seek(seekTime),
      seekbackward: ({ seekOffset }) => player.seek(player.position - (seekOffset ?? SEEK_S)),
      seekforward: ({ seekOffset }) => player.seek(player.position + (seekOffset ?? SEEK_S)),
    };
    for (const [action, handler] of Object.entries(actions)) {
      try {
        this.session.setActionHandler(action, handler);
      } catch {
        // this browser knows no such action
      }
    }
    player.addEventListener("state", () => {
      this.session.playbackState = player.playing ? "playing" : player.track ? "paused" : "none";
      this.tellPosition();
    });
    player.audio.addEventListener("seeked", () => this.tellPosition());
  }

  describe({ title, artist, album, cover_url: cover }) {
    if (!this.session) return;
    const artwork = cover ? [{ src: new URL(cover, location.href).href }] : [];
    this.session.metadata = new MediaMetadata({ title: title ?? "Untitled", artist: artist ?? "", album: album ?? "", artwork });
  }

  tellPosition() {
    const { duration, position, audio } = this.player;
    if (!duration) return;
    this.session.setPositionState?.({ duration, position: Math.min(position, duration), playbackRate: audio.playbackRate });
  }
}
