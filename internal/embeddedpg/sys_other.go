//go:build !unix

package embeddedpg

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// There is no embedded server here: the first thing that Start does is to
// choose the account, which says so.
var errSystem = errors.New("landlord can't run a PostgreSQL of its own on this system: give it the URL of one")

func chooseAccount(string) (account, error) { return account{}, errSystem }

// TryLock is not available here.
func TryLock(*os.File) (bool, error) { return false, errSystem }

func signalFast(int) error      { return errSystem }
func signalImmediate(int) error { return errSystem }
func signalKill(int) error      { return errSystem }
func signalGroup(int) error     { return errSystem }
func serves(int, string) bool   { return false }

func (account) attributes() *syscall.SysProcAttr { return nil }
func (account) own(string) error                 { return errSystem }
func (account) mayEnter(fs.FileInfo) bool        { return true }
