package pg

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/landlordhq/landlord/internal/fault"
)

// Constraints says what the violation of a named constraint means to a caller.
// A constraint that is not listed is a defect of ours, and Internal.
type Constraints map[string]*fault.Error

// fault turns what the database says into what a caller may act on. Its text
// stays in Err, for the log.
func (db *DB) fault(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	var connect *pgconn.ConnectError
	switch e, ok := sqlState(err); {
	case errors.As(err, &connect): // also when the server refuses us: that is between it and us
		return unavailable(err)
	case ok:
		return db.sqlFault(e, err)
	case timedOut(err):
		return busy(err)
	case lost(err):
		return unavailable(err)
	default: // context.Canceled among them: the faces know that the caller has gone
		return err
	}
}

func (db *DB) sqlFault(e *pgconn.PgError, err error) error {
	switch {
	case strings.HasPrefix(e.Code, "23"): // integrity constraint violation
		if known, ok := db.constraints[e.ConstraintName]; ok {
			f := *known
			f.Err = err
			return &f
		}
		return err
	case e.Code == "22021", e.Code == "22P05": // bytes that text or jsonb can't hold, such as NUL
		return &fault.Error{
			Kind: fault.InvalidKind, Code: "invalid_text", Err: err,
			Detail: "The request holds text that can't be stored, such as a NUL character.",
		}
	case strings.HasPrefix(e.Code, "08"), strings.HasPrefix(e.Code, "57P"), // connection, shutdown, starting up
		strings.HasPrefix(e.Code, "53"), strings.HasPrefix(e.Code, "58"), // out of connections, disk, memory; I/O errors
		e.Code == "25006", // a standby took the connection
		e.Code == "25P03": // we froze in the transaction for too long
		return unavailable(err)
	case e.Code == "55P03", // lock not available in time
		e.Code == "40001", e.Code == "40P01",
		e.Code == "57014": // cancelled: by our caller, or by a timeout of the server
		return busy(err)
	default:
		return err
	}
}

// timedOut reports whether the database was given up on: a context or a socket
// is past its deadline.
func timedOut(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

// lost reports whether the connection failed rather than the statement.
func lost(err error) bool {
	var op *net.OpError
	switch {
	case errors.As(err, &op),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return true
	}
	return strings.Contains(err.Error(), "conn closed") || strings.Contains(err.Error(), "closed pool")
}

func unavailable(err error) error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "database_unavailable", Err: err, RetryAfter: time.Second,
		Detail: "The database can't be reached right now: try again shortly.",
	}
}

func busy(err error) error {
	return &fault.Error{
		Kind: fault.Unavailable, Code: "database_busy", Err: err, RetryAfter: time.Second,
		Detail: "The database did not answer in time: try again shortly.",
	}
}

// retryable reports whether the transaction was refused for meeting another one.
func retryable(err error) bool {
	e, ok := sqlState(err)
	return ok && (e.Code == "40001" || e.Code == "40P01")
}
