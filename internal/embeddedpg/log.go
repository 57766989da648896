package embeddedpg

import (
	"fmt"
	"os"
	"sync"
)

const (
	maxLog  = 8 << 20 // of the log file, before it becomes the predecessor
	maxTail = 4 << 10 // of what an error quotes
)

// boundedLog is the server's log: a file and its predecessor, each of bounded
// size, and the last lines in memory for errors. Writing never fails, so that
// a full disk doesn't block the server on its own log.
type boundedLog struct {
	path string
	max  int64

	mu   sync.Mutex
	file *os.File // nil once closed
	size int64
	tail []byte
}

func openLog(path string, limit int64) (*boundedLog, error) {
	l := &boundedLog{path: path, max: limit}
	return l, l.open()
}

func (l *boundedLog) open() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the server's log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("open the server's log: %w", err)
	}
	l.file, l.size = f, info.Size()
	return nil
}

func (l *boundedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = append(l.tail, p...)
	if over := len(l.tail) - maxTail; over > 0 {
		l.tail = append(l.tail[:0], l.tail[over:]...)
	}
	if l.file == nil {
		return len(p), nil
	}
	if l.size+int64(len(p)) > l.max {
		_ = l.file.Close()
		l.file = nil
		if os.Rename(l.path, l.path+".1") != nil || l.open() != nil {
			return len(p), nil
		}
	}
	n, _ := l.file.Write(p)
	l.size += int64(n)
	return len(p), nil
}

// Tail returns the last lines.
func (l *boundedLog) Tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.tail)
}

// Forget empties the tail: what comes next is another run's.
func (l *boundedLog) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = nil
}

// Close ends the file; the tail stays readable.
func (l *boundedLog) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
}
