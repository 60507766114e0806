// Browsers start no workers from files. So that the search works in a folder, too, a hidden frame stands in for one.
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.onmessage = null;
      const frame = document.createElement("iframe");
      frame.hidden = true;
      this.waiting = new Promise((resolve) => {
        frame.onload = () => resolve(frame.contentWindow);
      });
      window.__answer = (data) => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        if (this.onmessage) this.onmessage(event);
      };
      const answers = "<script>self.postMessage = (data) => parent.__answer(data)<\/script>";
      frame.srcdoc = `<!doctype html>${answers}<script src="${url}"><\/script>`;
      document.documentElement.append(frame);
    }

    postMessage(data) {
      this.waiting.then((inside) => inside.dispatchEvent(new MessageEvent("message", { data })));
    }

    terminate() {}
  };
}
