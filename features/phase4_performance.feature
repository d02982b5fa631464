@phase4 @load
Feature: Storage performance: as fast as ordered, and not slower than it was
  Every node loads the storage at the same time, once as virtual machines do it (librbd) and once as containers do
  (the kernel's block device). The images belong to the benchmark alone, are written to the full before anything is
  read, and are removed afterwards. A figure counts after a warm-up, and the report says where it was not steady.

  Background:
    Given every server is installed as a node
    And every node's network is configured
    And the nodes are one cluster
    And storage is ready
    And every node has loaded the storage at the same time, as virtual machines and as containers do

  @criterion-10
  Scenario Outline: Large transfers in sequence are fast for <guests>
    Then all nodes together write in sequence for <guests> with at least 1 GB/s
    And all nodes together read in sequence for <guests> with at least 2 GB/s

    Examples:
      | guests           |
      | virtual machines |
      | containers       |

  @criterion-10
  Scenario Outline: Many small transfers at random places are fast for <guests>
    Then all nodes together read small blocks at random for <guests> with at least 100k IOPS
    And all nodes together write small blocks at random for <guests> with at least 100k IOPS

    Examples:
      | guests           |
      | virtual machines |
      | containers       |

  @criterion-10
  Scenario Outline: Under load nobody waits long: <guests>
    Then while all nodes read and write at random for <guests>, 95 percent of all waits are under 5 milliseconds

    Examples:
      | guests           |
      | virtual machines |
      | containers       |

  @criterion-10
  Scenario: Nothing has become slower since the baseline was taken
    Then no figure is worse than its baseline by 15 % or more

  Scenario: The benchmark leaves nothing behind
    Then no image, mapped device or fio server of the benchmark is left
