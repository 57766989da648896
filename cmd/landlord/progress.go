package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// progress shows on a terminal how far a command is. Elsewhere it is silent: a log
// has no use for a bar.
type progress struct {
	w     io.Writer // nil: silent
	total int64     // bytes; 0: not known
	shown bool
}

func newProgress(w io.Writer, total int64) *progress {
	f, ok := w.(*os.File)
	if !ok {
		return &progress{}
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return &progress{}
	}
	return &progress{w: w, total: total}
}

// barWidth is how many characters a bar has.
const barWidth = 30

// at shows that so many bytes are read and so many things done.
func (p *progress) at(bytes int64, done int) {
	if p.w == nil {
		return
	}
	p.shown = true
	_, _ = fmt.Fprintf(p.w, "\r\033[K%s", p.line(bytes, done))
}

func (p *progress) line(bytes int64, done int) string {
	if p.total == 0 {
		return fmt.Sprintf("%d done", done)
	}
	part := min(1, float64(bytes)/float64(p.total))
	full := int(part * barWidth)
	return fmt.Sprintf("[%s%s] %3.0f %%  %d done", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), 100*part, done)
}

// end leaves the line.
func (p *progress) end() {
	if p.w != nil && p.shown {
		_, _ = fmt.Fprintln(p.w)
	}
}
