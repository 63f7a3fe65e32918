// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

var screenshots = flag.String("screenshots", "", "folder to keep the screenshots in, to look at them")

// browser starts Chromium and collects what it complains about, such as a style that the page's policy refuses.
func browser(t *testing.T) (context.Context, func() []string) {
	t.Helper()
	if _, err := exec.LookPath("chromium"); errors.Is(err, exec.ErrNotFound) {
		t.Skip("there is no chromium: make packages installs it")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.ExecPath("chromium"), chromedp.UserDataDir(t.TempDir()))
	allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, stop := chromedp.NewContext(allocator)
	t.Cleanup(stop)
	ctx, stop = context.WithTimeout(ctx, time.Minute)
	t.Cleanup(stop)
	var (
		mu         sync.Mutex
		complaints []string
	)
	err := chromedp.Listen(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := event.(type) {
		case *log.EventEntryAdded:
			complaints = append(complaints, e.Entry.Text)
		case *runtime.EventConsoleAPICalled, *runtime.EventExceptionThrown:
			complaints = append(complaints, fmt.Sprintf("%+v", e))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return ctx, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return complaints
	}
}

// look is one way in which the page is looked at.
type look struct {
	name          string
	width, height int64
	dark, print   bool
}

func (l look) emulate(ctx context.Context) error {
	scheme, media := "light", ""
	if l.dark {
		scheme = "dark"
	}
	if l.print {
		media = "print"
	}
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Media: media, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	return errors.Join(err, chromedp.Do(ctx, chromedp.EmulateViewport(l.width, l.height)))
}

// overflowing names what is wider than the window, but what scrolls for itself.
const overflowing = `(() => {
  const wide = [];
  if (document.documentElement.scrollWidth > innerWidth) wide.push("page of " + document.documentElement.scrollWidth);
  for (const e of document.querySelectorAll("section *")) {
    if (e.closest(".scroll, pre, svg") || e.getBoundingClientRect().right <= innerWidth) continue;
    wide.push(e.tagName + " " + e.textContent.slice(0, 40));
  }
  return wide.join("; ");
})()`

func TestInBrowser(t *testing.T) {
	p, stats := observed(t)
	dir := t.TempDir()
	for name, content := range pagesOf(t, p, stats) {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, complaints := browser(t)
	for _, file := range []string{"boutique.html", "index.html"} {
		for _, l := range []look{
			{"wide", 1280, 900, false, false},
			{"dark", 1280, 900, true, false},
			{"narrow", 400, 800, false, false},
			{"print", 800, 1100, false, true},
		} {
			t.Run(file+" "+l.name, func(t *testing.T) {
				if err := errors.Join(l.emulate(ctx), chromedp.Do(ctx, chromedp.Navigate("file://"+filepath.Join(dir, file)))); err != nil {
					t.Fatal(err)
				}
				wide, text := run(t, ctx, chromedp.Evaluate[string](overflowing)), run(t, ctx, chromedp.Text("main"))
				picture := run(t, ctx, chromedp.FullScreenshot(100))
				if wide != "" && !l.print {
					t.Errorf("wider than the window: %s", wide)
				}
				if !strings.Contains(text, "boutique") || !strings.Contains(strings.ToLower(text), "not ready") {
					t.Errorf("the text is missing: %.200s", text)
				}
				notBlank(t, picture)
				keep(t, l.name+"-"+file, picture)
			})
		}
	}
	for _, c := range complaints() {
		t.Errorf("the browser complains: %s", c)
	}
}

// run is what an action in the browser returns.
func run[T any](t *testing.T, ctx context.Context, action chromedp.Action[T]) T {
	t.Helper()
	result, err := chromedp.Run(ctx, action)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// notBlank: a page has ink of several colours.
func notBlank(t *testing.T, picture []byte) {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	colours := map[[3]uint32]int{}
	for y := img.Bounds().Min.Y; y < img.Bounds().Max.Y; y += 3 {
		for x := img.Bounds().Min.X; x < img.Bounds().Max.X; x += 3 {
			r, g, b, _ := img.At(x, y).RGBA()
			colours[[3]uint32{r, g, b}]++
		}
	}
	if len(colours) < 20 {
		t.Errorf("the page has %d colours: it is blank", len(colours))
	}
}

func keep(t *testing.T, name string, picture []byte) {
	t.Helper()
	if *screenshots == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(*screenshots, name+".png"), picture, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestScript: rows are filtered and sorted, and there is a button for what is to be pasted.
func TestScript(t *testing.T) {
	p, stats := observed(t)
	file := filepath.Join(t.TempDir(), "boutique.html")
	if err := os.WriteFile(file, pagesOf(t, p, stats)["boutique.html"], 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, complaints := browser(t)
	const section = "section[aria-labelledby=connections]"
	err := chromedp.Do(ctx, chromedp.Navigate("file://"+file), chromedp.SendKeys(section+" input", "redis TCP/6379"))
	if err != nil {
		t.Fatal(err)
	}
	// A click at a place would miss what moves when rows are hidden.
	run(t, ctx, chromedp.Evaluate[any](`document.querySelector("`+section+` th:nth-child(4) button").click()`))
	const rows = `[...document.querySelectorAll("` + section + ` tbody tr")]`
	shown := run(t, ctx, chromedp.Evaluate[int](rows+`.filter(r => r.offsetHeight > 0).length`))
	matching := run(t, ctx, chromedp.Evaluate[int](rows+`.filter(r => /redis/.test(r.textContent) && /TCP\/6379/.test(r.textContent)).length`))
	flows := run(t, ctx, chromedp.Evaluate[[]string](rows+`.map(r => r.cells[3].dataset.value)`))
	buttons := run(t, ctx, chromedp.Evaluate[float64](`document.querySelectorAll("figure.paste > button").length / document.querySelectorAll("figure.paste").length`))
	if shown == 0 || shown != matching {
		t.Errorf("%d rows are shown, %d match", shown, matching)
	}
	if buttons != 1 {
		t.Errorf("%g buttons for each text to paste", buttons)
	}
	previous := 0
	for _, f := range flows {
		var n int
		if _, err := fmt.Sscan(f, &n); err != nil || n < previous {
			t.Fatalf("not sorted by flows: %v", flows)
		}
		previous = n
	}
	if c := complaints(); len(c) > 0 {
		t.Errorf("the browser complains: %v", c)
	}
}
