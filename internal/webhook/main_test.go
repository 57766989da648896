package webhook_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/landlordhq/landlord/internal/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }
