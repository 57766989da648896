package webhook_test

import (
	"testing"

	"github.com/landlordhq/landlord/internal/pgtest"
)

func TestSQL(t *testing.T) {
	t.Parallel()
	pgtest.PrepareAll(t, ".")
}
